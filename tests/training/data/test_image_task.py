"""The task of images: normalisation, loss, figures, and what settings make of it."""

import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.models import preprocess, preprocessing
from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.kinds.classify import input_facts
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task
from tests.training.data.images import Memory, files, write_zip
from tests.training.data.test_passes import FACTS, task

ROOT = pathlib.Path(__file__).resolve().parents[3]
CIFAR = next((p for p in (ROOT / 'shared', ROOT.parent / 'shared') if (p / 'data/cifar10.zip').exists()), None)
LOGITS = np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32)
MASK = np.array([1, 1, 1, 1, 0, 0], np.float32)
LABELS, OTHERS = np.array([0, 3, 11, 5, 1, 1], np.int32), np.array([3, 0, 11, 7, 2, 2], np.int32)
SHARES = np.array([0.25, 0.75, 0.5, 1, 0.5, 0.5], np.float32)


def of(label_smoothing=0.0, num_outputs=12):
    images = task(label_smoothing=label_smoothing)
    images.num_outputs = num_outputs
    return images


def targets(label_smoothing, mixed):
    """Label distributions, written out."""
    each = np.eye(12)[LABELS]
    if mixed:
        each = SHARES[:, None] * each + (1 - SHARES[:, None]) * np.eye(12)[OTHERS]
    return (1 - label_smoothing) * each + label_smoothing / 12


def batch(mixed):
    return {'label': LABELS, 'mask': MASK} | ({'other_label': OTHERS, 'share': SHARES} if mixed else {})


@pytest.mark.parametrize('mixed', [False, True])
@pytest.mark.parametrize('label_smoothing', [0.0, 0.1])
def test_loss_is_the_cross_entropy_of_the_label_distribution(label_smoothing, mixed):
    logs = LOGITS - np.log(np.exp(LOGITS.astype(np.float64)).sum(axis=-1, keepdims=True))
    each = -(targets(label_smoothing, mixed) * logs).sum(axis=-1)
    found = of(label_smoothing).loss(jnp.asarray(LOGITS), batch(mixed))
    assert float(found) == pytest.approx(each[:4].mean(), rel=1e-6)


@pytest.mark.parametrize('mixed', [False, True])
def test_figures_are_without_smoothing_and_without_what_is_masked(mixed):
    summary = of(0.1).summary(of(0.1).metrics(jnp.asarray(LOGITS), batch(mixed)))
    assert summary['loss'] == pytest.approx(float(of().loss(jnp.asarray(LOGITS), batch(mixed))), rel=1e-6)
    wanted = targets(0.0, mixed)[:4]
    best = np.argsort(-LOGITS[:4], axis=-1)
    for name, top in (('accuracy', 1), ('top5_accuracy', 5)):
        expected = np.take_along_axis(wanted, best[:, :top], axis=-1).sum(axis=-1).mean()
        assert summary[name] == pytest.approx(expected, abs=1e-6)


def test_with_few_classes_there_is_no_top_5():
    few = of(num_outputs=9).metrics(jnp.asarray(LOGITS[:, :9]), {'label': LABELS % 9, 'mask': MASK})
    assert set(few) == {'loss', 'correct', 'count'}


def test_equal_logits_and_nan_are_not_all_correct():
    labels = np.arange(12, dtype=np.int32)
    for value, expected in ((0.0, (1, 5)), (np.nan, (1, 0))):
        totals = of().metrics(jnp.full((12, 12), value), {'label': labels, 'mask': np.ones(12, np.float32)})
        assert (float(totals['correct']), float(totals['top5_correct'])) == expected


def test_half_precision_logits_are_summed_in_float32():
    totals = of().metrics(jnp.zeros((400, 12), jnp.bfloat16), {'label': np.zeros(400, int), 'mask': np.ones(400)})
    assert totals['loss'].dtype == totals['correct'].dtype == jnp.float32
    assert float(totals['loss']) == pytest.approx(400 * np.log(12), rel=1e-6)


def test_inputs_are_normalised_in_float32():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    (x,) = jax.jit(task().inputs)({'image': images})
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, (images / 255 - np.array(FACTS.mean)) / np.array(FACTS.std), atol=1e-6)


def test_an_evaluation_sees_what_published_weights_expect():
    """Decoding, resizing, cropping and normalising give what `models.preprocess` gives."""
    facts = preprocessing('odconv_resnet18_4x')._replace(image_size=8, resize=9)
    source, images = Memory(files()), task()
    (x,) = images.inputs(next(images.batches('test', 2)))
    for row in range(2):
        image = np.asarray(decode(*source.read('test', row)[::2]))
        expected = preprocess(image, facts._replace(mean=FACTS.mean, std=FACTS.std))
        # PIL computes in fixed point: a level of 255, divided by the deviation.
        np.testing.assert_allclose(x[row], expected, atol=1.001 / 255 / min(FACTS.std))


def test_settings_choose_the_geometry(tmp_path):
    data = str(write_zip(tmp_path / 'images.zip', files()))
    images = create_task(Settings().updated(data=data, model='odconv_resnet18_4x', image_size=14, label_smoothing=0.1))
    assert (images.facts.image_size, images.facts.resize, images.facts.interpolation) == (14, 16, 'bilinear')
    assert (images.num_outputs, images.classes, images.name) == (3, ('ant', 'bee', 'cow'), data)
    assert images.label_smoothing == 0.1
    assert next(images.batches('train', 2))['image'].shape == (2, 14, 14, 3)


def test_settings_come_before_what_is_published():
    def facts(**settings):
        return input_facts(Settings().updated(**settings))

    assert facts(model='condconv_efficientnet_b1_8e') == preprocessing('condconv_efficientnet_b1_8e')
    assert facts(model='odconv_resnet18_4x', image_size=112, resize=120).resize == 120
    own = {'image_size': 24, 'resize': 32, 'interpolation': 'bicubic', 'mean': (0.1, 0.2, 0.3), 'std': (1.0, 1.0, 1.0)}
    assert facts(model='a network of my own', **own)[:5] == tuple(own.values())
    with pytest.raises(ValueError, match=r'image_size must be at most resize = 256, got 257'):
        facts(model='odconv_resnet18_4x', image_size=257, resize=256)
    with pytest.raises(ValueError, match=r'unknown model|a network of my own'):
        facts(model='a network of my own')
    with pytest.raises(ValueError, match=r'std must be a number >= 1e-06, got 0'):
        Settings().updated(std=(0.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r'mean must be a number from 0 to 1, got 123.7'):
        Settings().updated(mean=(123.7, 116.0, 103.0))


def test_data_that_are_not_there_are_named():
    with pytest.raises(FileNotFoundError, match=r'data: there is no file or folder nowhere/imagenet; expected digits'):
        create_task(Settings().updated(data='nowhere/imagenet'))


@pytest.mark.parametrize(
    ('data', 'missing', 'message'),
    [
        ('x.zip', 'PIL', r"pillow is not installed; it reads images and comes with the 'train' extra"),
        ('x.zip', 'grain', r"grain is not installed; .* pip install 'flax-dynconv\[train\]'"),
        ('hf:x', 'datasets', r"datasets is not installed; .* pip install '.\[huggingface\]'"),
        (
            'tfds:x',
            'tensorflow_datasets',
            r"tensorflow-datasets is not installed; .*pip install 'flax-dynconv\[tfds\]'",
        ),
        ('arrayrecord:{}', 'array_record.python', r'array_record is not installed; it reads ArrayRecord files'),
    ],
)
def test_a_missing_package_is_said(data, missing, message, monkeypatch, tmp_path):
    real = importlib.import_module

    def refuse(name):
        if name.startswith(missing):
            raise ImportError(name)
        return real(name)

    (tmp_path / 'dataset.json').write_text(
        '{"format": "flax_dynconv images 1", "classes": ["a"], "splits": {"train": {"x": 1}, "test": {"y": 1}}}'
    )
    monkeypatch.setattr(importlib, 'import_module', refuse)
    with pytest.raises(ImportError, match=message):
        create_task(Settings().updated(data=data.format(tmp_path)))


@pytest.mark.skipif(CIFAR is None, reason='the photographs are not part of the repository')
def test_real_photographs_from_a_zip():
    images = create_task(Settings().updated(data=str(CIFAR / 'data/cifar10.zip'), model='odconv_resnet20_4x'))
    assert images.classes[:3] == ('airplane', 'automobile', 'bird')
    assert (images.size('train'), images.size('test'), images.num_outputs) == (50000, 10000, 10)
    # The last batch of the pass, at once: nothing before it is read.
    last = next(images.batches('train', 128, start=389))
    assert last['image'].shape == (128, 32, 32, 3)
    assert len(np.unique(last['label'])) == 10
    (x,) = images.inputs(last)
    assert abs(float(x.mean())) < 0.2
    assert 0.8 < float(x.std()) < 1.2
    tail = list(images.batches('test', 128, start=77))
    assert [batch['mask'].sum() for batch in tail] == [128, 16]
