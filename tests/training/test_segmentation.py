"""The segmentation task: loss and figures of a batch, a whole tiny run, its picture, and a step on eight devices."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.training import experiment, run_folder, segmentation_picture, steps
from flax_dynconv.training.data.shapes import CLASSES
from flax_dynconv.training.recipes import RECIPES
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.sharding import collectives
from flax_dynconv.training.sliding_windows import sliding_windows
from flax_dynconv.training.task import Trained
from flax_dynconv.training.tasks import create_task, networks
from tests.tolerances import assert_close
from tests.training import parallel
from tests.training.test_pixel_losses import oracle

SETTINGS = Settings(task='segment', epochs=2, seed=1, twin=False).updated(
    model='dmnet_resnet8',
    width=0.25,
    arguments='{"filter_sizes": [1, 2], "channels": 8}',
    data='shapes',
    image_size=16,
    crop_size=(16, 16),
    scale_range=(1.0, 1.0),
    batch_size=8,
    evaluation_batch_size=4,
    train_examples=32,
    test_examples=6,
    learning_rate=0.05,
    warmup_epochs=0.0,
    temperature=1.0,
    reader_threads=1,
)


@functools.cache
def task(**changes):
    return create_task(SETTINGS.updated(**changes))


@functools.cache
def model():
    return experiment.build('dmnet_resnet8', len(CLASSES), SETTINGS)


@functools.cache
def variables():
    compiled = jax.jit(lambda key: task().init(model(), key), compiler_options=parallel.QUICK)
    return jax.tree.map(np.asarray, compiled(jax.random.key(0)))


def outputs(size=16, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((4, size, size, len(CLASSES))).astype(np.float32)


def batch():
    """Four drawn pictures, the last of which does not count, with ignored pixels."""
    found = next(task().batches('test', 4))
    found['label'][:, :3, :] = 255
    return found | {'mask': np.array([1, 1, 1, 0], np.float32)}


@pytest.mark.parametrize('average', ['all', 'valid'])
def test_the_loss_is_that_of_both_heads(average):
    own = task(pixel_average=average, auxiliary_weight=0.3)
    logits, auxiliary, made = outputs(), outputs(seed=1), batch()
    first, second = (oracle(values, made['label'], made['mask'], average)[0] for values in (logits, auxiliary))
    assert_close(own.loss((logits, auxiliary), made), first + 0.3 * second)
    assert_close(own.loss(logits, made), first)


def test_logits_of_another_size_are_resized():
    torch = pytest.importorskip('torch')
    logits, made = outputs(size=5), batch()
    grown = torch.nn.functional.interpolate(
        torch.tensor(logits, dtype=torch.float64).permute(0, 3, 1, 2), size=(16, 16), mode='bilinear'
    )
    expected = oracle(grown.permute(0, 2, 3, 1).numpy(), made['label'], made['mask'], 'all')[0]
    assert_close(task().loss(logits, made), expected)


def test_figures_are_those_of_the_pixels_that_count():
    logits, made = outputs(), batch()
    summary = task().summary(jax.tree.map(np.asarray, task().metrics((logits, None), made)))
    counted = (made['label'] != 255) & (made['mask'] > 0)[:, None, None]
    truth, guess = made['label'][counted], logits.argmax(axis=-1)[counted]
    each = {
        f'iou_{name}': np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c))
        for c, name in enumerate(CLASSES)
    }
    expected = {'miou': np.mean(list(each.values())), 'pixel_accuracy': np.mean(truth == guess), **each}
    assert set(summary) == {'loss', *expected}
    for name, value in expected.items():
        assert summary[name] == pytest.approx(value, rel=1e-12)
    assert summary['loss'] == pytest.approx(oracle(logits, made['label'], made['mask'], 'valid')[0], rel=1e-6)


def test_a_class_that_is_not_there_has_no_figure():
    confusion = np.zeros((5, 5))
    confusion[0, 0], confusion[1, 0] = 3, 1
    summary = task().summary({'confusion': confusion, 'loss': 2.0, 'count': 4})
    assert summary == {'loss': 0.5, 'miou': 0.375, 'pixel_accuracy': 0.75, 'iou_background': 0.75, 'iou_circle': 0.0}


def test_inputs_are_normalised():
    image = np.array([[[[0, 128, 255]]]], np.uint8)
    (found,) = task().inputs({'image': image})
    expected = (image / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert_close(found, expected)
    assert found.dtype == jnp.float32


def test_an_evaluation_slides_where_the_settings_say():
    sliding = task(inference='slide', window=(12, 8), window_stride=(8, 5))
    made = batch()

    def whole(image):
        return model().apply(variables(), image, train=False)

    variables()  # Its compiler options are for a program of its own.
    compiled = jax.jit(lambda b: sliding.predict(model(), variables(), b))(made)
    (image,) = sliding.inputs(made)
    expected = jax.jit(lambda x: sliding_windows(whole, x, (12, 8), (8, 5)))(image)
    assert_close(compiled, expected)
    assert np.abs(compiled - whole(image)).max() > 1e-3
    step = steps.eval_step(model(), sliding)
    found = jax.tree.map(np.asarray, jax.jit(step)(variables(), made))
    np.testing.assert_array_equal(found['confusion'], sliding.metrics(compiled, made)['confusion'])


@pytest.fixture(scope='module')
def run(compiled_fast, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run') / 'segment'
    folder.mkdir()
    experiment.run(SETTINGS, folder)
    return folder


def test_a_run_is_evaluated_to_the_bit(run, capsys):
    results = run_folder.read_results(run)
    assert results['classes'] == list(CLASSES)
    assert results['dynamic']['model'] == 'dmnet_resnet8'
    history = results['dynamic']['history']
    assert len(history) == 2 and history[1]['train']['loss'] < history[0]['train']['loss']
    assert 0 < results['dynamic']['test_miou'] < 1
    assert cli.main(['evaluate', str(run)]) == 0
    said = capsys.readouterr().out
    assert '(as recorded)' in said and 'test miou ' in said and 'test iou_background ' in said


def test_a_run_from_before_a_setting_is_evaluated(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / 'copy')
    results = run_folder.read_results(copy)
    for name in ('frame_loss', 'moving_digits', 'crop_share', 'auxiliary_weight'):
        del results['settings'][name]
    run_folder.write_results(copy, results)
    assert cli.main(['evaluate', str(copy)]) == 0
    assert '(as recorded)' in capsys.readouterr().out


def test_the_picture_has_curves_and_rows(run):
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 800 and image.shape[1] > 900
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 200


@pytest.mark.parametrize('batch_size', [1, 4, 7])
def test_the_picture_has_the_first_six_images_whatever_the_batch(batch_size, monkeypatch):
    # What is drawn as predicted: here that the reddest pixels are of class 1.
    monkeypatch.setattr(type(task()), 'predict', lambda self, model, variables, batch: one_hot_of(batch['image']))
    own = task(test_examples=8)
    trained = {'dynamic': Trained('red', None, {}, ())}
    images, labels, ((role, predicted),) = segmentation_picture.examples(own, trained, batch_size)
    expected = [own.source.example('test', index, None) for index in range(6)]
    np.testing.assert_array_equal(images, [np.asarray(image) for image, _, _ in expected])
    np.testing.assert_array_equal(labels, [label for _, label, _ in expected])
    assert role == 'dynamic'
    np.testing.assert_array_equal(predicted, images[..., 0] > 128)


def one_hot_of(image):
    return jnp.stack([image[..., 0] <= 128, image[..., 0] > 128], axis=-1)


def test_a_step_on_eight_devices_is_that_on_one_and_gathers_nothing():
    # Dropout draws other numbers for other shapes of devices; there is none here.
    still = experiment.build('dmnet_resnet8', len(CLASSES), SETTINGS.updated(arguments=_without_dropout()))
    where = {n: parallel.placement(still, 'replicate', devices=n, of=task()) for n in (1, 8)}
    found = collectives(parallel.compiled(still, where[8], task(), size=8)[0])
    assert {c.kind for c in found} == {'all-reduce'}
    (one, one_metrics, _), (eight, metrics, _) = (
        parallel.run(still, where[n], count=1, of=task(), size=8) for n in (1, 8)
    )
    jax.tree.map(assert_close, eight.params, one.params)
    assert metrics['confusion'].sum() == 8 * 16 * 16
    # Rounding may move a pixel whose two best logits are equal.
    assert np.abs(metrics['confusion'] - one_metrics['confusion']).sum() <= 8


def _without_dropout():
    return '{"filter_sizes": [1, 2], "channels": 8, "dropout": 0.0}'


def test_twins():
    assert networks(dataclasses.replace(SETTINGS, twin=True)) == {'dynamic': 'dmnet_resnet8', 'static': 'fcn_resnet8'}
    assert networks(SETTINGS) == {'dynamic': 'dmnet_resnet8'}
    assert networks(SETTINGS.updated(model='fcn_resnet8')) == {'static': 'fcn_resnet8'}
    twin = experiment.build('fcn_resnet8', 5, SETTINGS)
    assert twin.head.keywords['channels'] == 8 and twin.backbone.width == 0.25


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'arguments': '{"filters": 3}'}, r'arguments must fit dmnet_resnet8, got width=0.25, filters=3: '),
        ({'model': 'resnet8'}, r'model must be one of dmnet_resnet8, .* for segmentation, got the classifier resnet8'),
        ({'model': 'dmnet_resnet9'}, r"name must be a known model, got 'dmnet_resnet9'; did you mean dmnet_resnet"),
    ],
)
def test_networks_that_do_not_fit(changes, message):
    settings = SETTINGS.updated(**changes)
    with pytest.raises(ValueError, match=message):
        experiment.build(settings.network.model, 5, settings)


def test_dropout_is_that_of_the_network_unless_it_is_given():
    rates = {
        rate: experiment.build('dmnet_resnet8', 5, SETTINGS.updated(dropout=rate)).dropout for rate in (None, 0, 0.5)
    }
    assert rates == {None: 0.1, 0: 0, 0.5: 0.5}
    assert experiment.build('resnet8', 5, Settings().updated(model='resnet8')).dropout == 0


def test_an_ignored_class_of_the_shapes_is_refused():
    with pytest.raises(ValueError, match=r'ignore_label must be larger than the labels of the 5 classes of the shapes'):
        create_task(SETTINGS.updated(ignore_label=4))


def test_a_segmentation_network_is_no_classifier():
    with pytest.raises(ValueError, match=r'model must be a classifier for --task classify, got the .* dmnet_resnet8'):
        experiment.build('dmnet_resnet8', 5, Settings().updated(model='dmnet_resnet8'))


@pytest.mark.slow
def test_the_quick_run_reaches_its_mark(tmp_path):
    """The command of the page, in minutes."""
    assert cli.main(['train', '--task', 'segment', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    assert results['settings'] == json.loads(json.dumps(RECIPES['segment'].settings.flat()))
    assert results['dynamic']['test_miou'] > 0.85
    assert cli.main(['evaluate', str(tmp_path / 'run')]) == 0
