"""predict: the classes of image files, from runs and weights, and what is refused."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from flax_dynconv.commands import inference, predict, runs
from flax_dynconv.commands.stand_in import transform_of
from flax_dynconv.convert import save_variables, to_torch
from flax_dynconv.convert.pretrained_names import PRETRAINED
from flax_dynconv.models import create_model
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task
from tests.commands.conftest import BY_WEIGHTS, CLASSES, TEST


@pytest.fixture(scope='module')
def expected(run):
    """{role: probabilities (images, classes)} of the test images in the order of the task, straight from the model."""
    found, shares = runs.open_run(run), {}
    task = create_task(found.settings)
    batches = list(task.batches('test', 8))
    images, mask = (np.concatenate([batch[name] for batch in batches]) for name in ('image', 'mask'))
    for role in found.networks:
        restored = runs.restore(found, role, task, found.settings)
        (inputs,) = task.inputs({'image': images[mask > 0]})
        variables = jax.device_get(restored.state.evaluated)
        shares[role] = np.asarray(jax.nn.softmax(jax.jit(restored.plan.model.apply)(variables, inputs), axis=-1))
    return shares


def of_files(out):
    """(names of the files, probabilities in the order of the labels) from JSON."""
    read = json.loads(out)
    shares = [[p['probability'] for p in sorted(r['predictions'], key=lambda p: p['label'])] for r in read]
    for r in read:
        ordered = [p['probability'] for p in r['predictions']]
        assert ordered == sorted(ordered, reverse=True)
        assert all(p['class'] == CLASSES[p['label']] for p in r['predictions'])
    return [r['image'] for r in read], np.array(shares)


def test_folders_and_files_of_a_run_whose_data_are_gone(run, expected, pictures, tmp_path, command):
    """Other batches than in the evaluation, filled up to a multiple of the devices."""
    elsewhere = shutil.copytree(pictures / 'val', tmp_path / 'val')
    (elsewhere / 'blue' / 'notes.txt').touch()
    hidden = pictures.with_name('hidden')
    pictures.rename(hidden)
    try:
        files = sorted((elsewhere / 'red').iterdir())
        code, out = command('predict', elsewhere / 'blue', elsewhere / 'green', *files, '--run', run, '--json')
    finally:
        hidden.rename(pictures)
    names, shares = of_files(out)
    assert code == 0
    assert names == [str(elsewhere / name / f'{i}.png') for name in CLASSES for i in range(TEST)]
    np.testing.assert_allclose(shares, expected['dynamic'], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)


def test_the_static_network_of_a_run(run, expected, pictures, command):
    _, out = command('predict', pictures / 'val' / 'green', '--run', run, '--network', 'static', '--json')
    np.testing.assert_allclose(of_files(out)[1], expected['static'][TEST : 2 * TEST], rtol=1e-5, atol=1e-7)


def test_what_is_printed(run, expected, pictures, tmp_path, command):
    (tmp_path / 'names.txt').write_text('Blau\nGrün\nRot\n\n', encoding='utf-8')
    image = pictures / 'val' / 'red' / '0.png'
    _, out = command('predict', image, '--run', run, '--top', '2', '--classes', tmp_path / 'names.txt')
    shares = expected['dynamic'][2 * TEST]
    first, second = np.argsort(-shares)[:2]
    names = ('Blau', 'Grün', 'Rot')
    assert out.splitlines() == [
        str(image),
        f'{100 * shares[first]:8.2f} %  {names[first]}',
        f'{100 * shares[second]:8.2f} %  {names[second]}',
    ]


def test_weights_have_numbers_for_classes(run, expected, pictures, tmp_path, command):
    subject = predict.of_run(run)
    save_variables(tmp_path / 'w.npz', jax.device_get(subject.variables))
    _, out = command('predict', pictures / 'val' / 'blue', *BY_WEIGHTS, '--weights', tmp_path / 'w.npz', '--json')
    read = json.loads(out)
    assert {p['class'] for p in read[0]['predictions']} == {'0', '1', '2'}
    for r, shares in zip(read, expected['dynamic'], strict=False):
        for p in r['predictions']:
            assert p['probability'] == pytest.approx(shares[p['label']], rel=1e-4, abs=1e-6)


def test_pytorch_weights(pictures, tmp_path, command):
    torch = pytest.importorskip('torch')
    model = create_model('odconv_resnet18_1x', num_classes=7)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    generator = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: generator.uniform(0.01, 0.03, s.shape).astype(np.float32), shapes)
    variables['temperature'] = jax.tree.map(np.ones_like, variables['temperature'])
    reference, arguments = PRETRAINED['odconv_resnet18_1x']
    state_dict = to_torch(reference, variables, arguments | {'num_classes': 7})
    torch.save({k: torch.as_tensor(np.asarray(v)) for k, v in state_dict.items()}, tmp_path / 'w.pth')
    image = pictures / 'val' / 'red' / '0.png'
    arguments = ['--model', 'odconv_resnet18_1x', '--weights', tmp_path / 'w.pth', '--image-size', '32', '--top', '7']
    _, out = command('predict', image, *arguments, '--json')
    (read,) = json.loads(out)
    assert sorted(p['label'] for p in read['predictions']) == list(range(7))
    assert sum(p['probability'] for p in read['predictions']) == pytest.approx(1, rel=1e-5)


def test_images_that_cannot_be_read(run, pictures, tmp_path, command):
    good = pictures / 'val' / 'red' / '0.png'
    (tmp_path / 'cut.png').write_bytes(good.read_bytes()[:-40])
    (tmp_path / 'text.jpg').write_text('no image')
    for name in ('cut.png', 'text.jpg'):
        with pytest.raises(ValueError, match=rf'{name} cannot be read: '):
            command('predict', good, tmp_path / name, '--run', run)
    with pytest.raises(FileNotFoundError, match=r'there is no image no.png'):
        command('predict', good, 'no.png', '--run', run)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty: there is no image in this folder'):
        command('predict', tmp_path / 'empty', '--run', run)


def test_classes_that_do_not_fit(run, pictures, tmp_path, command):
    image = pictures / 'val' / 'red' / '0.png'
    (tmp_path / 'two.txt').write_text('a\nb\n')
    with pytest.raises(ValueError, match=r'two.txt must hold 3 lines, one for each class of the network, got 2'):
        command('predict', image, '--run', run, '--classes', tmp_path / 'two.txt')
    (tmp_path / 'bytes.txt').write_bytes(b'\xff\xfe\n')
    with pytest.raises(ValueError, match=r'bytes.txt must be a text with one class name per line'):
        command('predict', image, '--run', run, '--classes', tmp_path / 'bytes.txt')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'expected --run of a run, or --model NAME and --weights FILE'),
        (['--run', 'x', '--weights', 'y'], '--run has a network of its own, got --weights too'),
        (
            ['--model', 'resnet8', '--weights', 'y', '--network', 'static'],
            '--network is for --run, got it with --weights',
        ),
        (['--run', 'x'], 'x holds no finished run'),
    ],
)
def test_arguments_that_do_not_fit(arguments, message, pictures, command):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        command('predict', pictures / 'val' / 'red', *arguments)


def test_a_network_of_whole_images_has_no_masks(run, pictures, tmp_path, command):
    with pytest.raises(
        ValueError, match=r'--output is for a run of segmentation, got it with a network of whole images'
    ):
        command('predict', pictures / 'val' / 'red', '--run', run, '--output', tmp_path)


def test_a_network_that_the_run_does_not_have(run, tmp_path, pictures, command):
    copy = shutil.copytree(run, tmp_path / 'copy')
    results = json.loads((copy / 'results.json').read_text())
    del results['dynamic']
    (copy / 'results.json').write_text(json.dumps(results))
    with pytest.raises(ValueError, match=r"network must be one of \['static'\].*, got 'dynamic'"):
        command('predict', pictures / 'val' / 'red', '--run', copy, '--network', 'dynamic')


def test_weights_for_other_channels_are_refused(pictures, tmp_path, command):
    model = create_model('odconv_tiny_2x', num_classes=3)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    save_variables(tmp_path / 'grey.npz', jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes))
    arguments = ['--model', 'odconv_tiny_2x', '--weights', tmp_path / 'grey.npz', '--image-size', '8']
    with pytest.raises(ValueError, match=r'the network needs params/conv1/kernel of shape \(3, 3, 3, 16\)'):
        command('predict', pictures / 'val' / 'red', *arguments)


def test_digits_from_files_are_those_in_memory():
    task = create_task(Settings())
    images = task.images['test'][:20]
    low, high = task.images['train'].min(), task.images['train'].max()
    transform = transform_of(task)
    for image in images:
        grey = np.round(255 * (image[:, :, 0] - low) / (high - low)).astype(np.uint8)
        made = transform(Image.fromarray(grey).convert('RGB'))
        assert made.shape == image.shape
        assert made.dtype == image.dtype
        np.testing.assert_allclose(made, image, atol=0.6 * (high - low) / 255)  # half a level of the file


@pytest.mark.parametrize(('count', 'batch_size'), [(1, 1), (8, 8), (13, 5), (17, 32), (0, 4)])
def test_every_image_is_predicted_once(count, batch_size):
    class Linear:
        def apply(self, variables, x, train):
            assert not train
            return x.reshape(x.shape[0], -1) @ variables

    images = np.random.default_rng(0).standard_normal((count, 2, 1, 1)).astype(np.float32)
    weights = np.array([[1.0, -1.0, 0.5], [0.25, 2.0, -0.5]], np.float32)
    found = list(inference.probabilities(Linear(), weights, lambda b: (b['image'],), iter(images), batch_size))
    logits = images.reshape(count, 2).astype(np.float64) @ weights
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert len(found) == count
    np.testing.assert_allclose(np.reshape(found, (count, 3)), shares, rtol=1e-5)
