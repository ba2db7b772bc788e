"""Steerable filtering: data, truth, figures, bad files, a run from start to end."""

import zipfile

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.commands import runs
from flax_dynconv.models import steering_kernel
from flax_dynconv.ops import per_sample_conv
from flax_dynconv.training import run_folder, tasks
from flax_dynconv.training.recipes import find_recipe
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.steering.derivative import directional_derivative
from flax_dynconv.training.steering.images import read_images
from flax_dynconv.training.steering.noise import Noise, angle
from flax_dynconv.training.steering.task import SteerableFiltering, correlation
from tests.training import parallel, passes_contract
from tests.training.test_parallel import assert_same, check_traffic

QUICK = find_recipe('steerable').settings


def noise(size=8, train=12, test=7):
    return SteerableFiltering(Noise(size, train, test))


def by_definition(image, theta):
    """sum over u, v of K(u, v) x[i + v, j + u], tap by tap."""
    height, width, _ = image.shape
    padded = np.pad(image[:, :, 0].astype(np.float64), 4)
    result = np.zeros((height, width))
    for v in range(-4, 5):
        for u in range(-4, 5):
            tap = -(np.cos(theta) * u + np.sin(theta) * v) * np.exp(-(u * u + v * v) / 2)
            result += tap * padded[4 + v : 4 + v + height, 4 + u : 4 + u + width]
    return result[:, :, None]


@pytest.mark.parametrize('theta', [0.0, 0.7, 3.0, 5.9])
@pytest.mark.parametrize('shape', [(12, 10, 1), (3, 5, 1)])
def test_the_target_is_the_closed_form(theta, shape):
    image = np.random.default_rng(0).random(shape)
    np.testing.assert_allclose(directional_derivative(image, theta), by_definition(image, theta), atol=3e-7)


def test_the_target_is_what_the_true_filter_gives():
    """The network's own operator with the kernel that it has to learn: the least error that there can be."""
    batch = next(noise(size=16).batches('test', 7))
    kernel = steering_kernel(jnp.asarray(batch['theta']))
    image, taps = (
        per_sample_conv(jnp.asarray(batch['image']), kernel[..., None, None], padding=4),
        kernel.reshape(7, 81),
    )
    task = noise(size=16)
    figures = task.summary(task.metrics((image, taps), batch))
    assert figures['mse'] < 1e-12
    assert figures['explained'] == pytest.approx(1, abs=1e-10)
    assert figures['filter_correlation'] == pytest.approx(1, abs=1e-6)


def test_noise_is_a_function_of_seed_epoch_and_position():
    passes_contract.check(noise(), 'image', 7, fresh=True)


def test_test_angles_are_spread_over_the_turn_and_never_those_of_training():
    task = noise()
    theta = next(task.batches('test', 7))['theta']
    np.testing.assert_allclose(np.degrees(theta), (np.arange(7) + 0.5) * 360 / 7, rtol=1e-6)
    drawn = np.concatenate([b['theta'] for epoch in range(20) for b in task.batches('train', 12, 0, epoch)])
    assert 0 <= drawn.min() < 0.3 and 6 < drawn.max() < 2 * np.pi
    assert abs(np.mean(np.cos(drawn))) < 0.2 and abs(np.mean(np.sin(drawn))) < 0.2
    assert not set(drawn.tolist()) & set(theta.tolist())


def test_figures_are_those_of_float64_and_what_fills_up_counts_nowhere():
    task, random = noise(test=5), np.random.default_rng(1)
    batches = list(task.batches('test', 3))
    outputs = [(random.standard_normal((3, 8, 8, 1)), random.standard_normal((3, 81))) for _ in batches]
    outputs[1][0][2:], outputs[1][1][2:] = np.nan, np.inf
    totals = None
    for output, batch in zip(outputs, batches, strict=True):
        metrics = task.metrics(tuple(np.float32(a) for a in output), batch)
        totals = metrics if totals is None else jax.tree.map(jnp.add, totals, metrics)
    kept = [slice(None), slice(0, 2)]
    image, taps = (np.concatenate([o[i][rows] for o, rows in zip(outputs, kept, strict=True)]) for i in (0, 1))
    target, theta = (
        np.concatenate([b[name][rows] for b, rows in zip(batches, kept, strict=True)]).astype(np.float64)
        for name in ('target', 'theta')
    )
    truth = np.asarray(steering_kernel(jnp.asarray(theta, jnp.float32)), np.float64).reshape(5, 81)
    mse = np.mean((image - target) ** 2)
    expected = {
        'loss': mse,
        'mse': mse,
        'explained': 1 - mse / target.var(),
        'filter_correlation': np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(taps, truth, strict=True)]),
    }
    assert task.summary(totals) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    last = np.mean((outputs[1][0][:2] - batches[1]['target'][:2]) ** 2)
    assert float(task.loss((np.float32(outputs[1][0]), None), batches[1])) == pytest.approx(last, rel=1e-5)


def test_half_precision_is_measured_in_float32():
    task = noise()
    batch = next(task.batches('test', 7))
    metrics = task.metrics((jnp.zeros((7, 8, 8, 1), jnp.bfloat16), jnp.ones((7, 81), jnp.bfloat16)), batch)
    assert {value.dtype for value in metrics.values()} == {np.dtype(np.float32)}


def test_correlation_ignores_scale_and_mean():
    a = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)
    b = a.copy()
    b[1] = -b[1]
    np.testing.assert_allclose(correlation(jnp.asarray(a), jnp.asarray(3 * b + 1)), [1, -1], atol=1e-5)


def write(path, array):
    np.save(path, array)
    return path


def test_images_of_a_file_are_cut_and_scaled(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 10), np.uint8)
    task = SteerableFiltering(read_images(write(tmp_path / 'x.npy', images), 8, 7))
    passes_contract.check(task, 'image', 7)
    batch = next(task.batches('test', 7))
    np.testing.assert_allclose(batch['image'][..., 0], images[13:, 2:10, 1:9] / 255, rtol=1e-6)
    for i in range(7):
        assert batch['theta'][i] == np.float32(angle(i, 7))
        expected = by_definition(batch['image'][i], float(batch['theta'][i]))
        np.testing.assert_allclose(batch['target'][i], expected, atol=1e-6)
    # Every training image once in an epoch, each a part of its own image.
    cut = np.concatenate([b['image'][..., 0] for b in task.batches('train', 13)])
    windows = np.lib.stride_tricks.sliding_window_view(np.float32(images[:13]) / np.float32(255), (8, 8), axis=(1, 2))
    owners = [{int(i) for i in np.nonzero((windows == part).all(axis=(3, 4)))[0]} for part in cut]
    assert sorted(owner for (owner,) in owners) == list(range(13))


def test_an_npz_has_its_own_test_images(tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / 'x.npz', train=random.random((9, 8, 8, 1)), test=random.random((5, 8, 8)).astype(np.float16))
    images = read_images(tmp_path / 'x.npz', None, 100)
    assert (images.size('train'), images.size('test'), images.shape) == (9, 5, (8, 8))


@pytest.mark.parametrize(
    ('array', 'size', 'message'),
    [
        (np.zeros((9, 8, 8, 3)), None, r'x\.npy must be \(images, height, width\) or .* got the shape \(9, 8, 8, 3\)'),
        (np.zeros((9, 8)), None, r'x\.npy must be \(images, .* got the shape \(9, 8\)'),
        (np.zeros((0, 8, 8)), None, r'x\.npy must be .*, none of them empty, got the shape \(0, 8, 8\)'),
        (np.zeros((9, 8, 8), np.int64), None, r'x\.npy must be uint8, bool or floats, got int64'),
        (np.full((9, 8, 8), 255.0), None, r'x\.npy must have floats from 0 to 1, got 255\.0 to 255\.0'),
        (np.full((9, 8, 8), np.nan), None, r'x\.npy must have floats from 0 to 1, got nan to nan'),
        (np.zeros((4, 8, 8)), None, r'x\.npy must have more than test_examples = 4 examples, got 4'),
        (np.zeros((9, 8, 8)), 9, r'image_size must be at most that of the images in .*x\.npy, .*\(8, 8\).*, got 9'),
    ],
)
def test_bad_images_are_named(array, size, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_images(write(tmp_path / 'x.npy', array), size, 4)


def test_images_that_filtering_leaves_black_are_refused(tmp_path):
    images = np.zeros((9, 8, 8), np.uint8)
    images[:5] = np.random.default_rng(0).integers(0, 256, (5, 8, 8))
    with pytest.raises(ValueError, match=r'x\.npy: filtered test images must differ, got the same in all'):
        tasks.create_task(QUICK.updated(data=str(write(tmp_path / 'x.npy', images)), image_size=8, test_examples=4))
    # A training pass over black images has no variance to explain, and is no reason to stop.
    task = SteerableFiltering(read_images(write(tmp_path / 'y.npy', images[::-1].copy()), 8, 4))
    black = {name: array[:2] for name, array in next(task.batches('test', 4)).items()} | {
        'target': np.zeros((2, 8, 8, 1))
    }
    totals = task.metrics((jnp.ones((2, 8, 8, 1)), jnp.ones((2, 81)) * jnp.arange(81.0)[None, :]), black)
    assert task.summary(totals)['explained'] == 0.0


def test_bad_files_are_named(tmp_path):
    (tmp_path / 'x.npy').write_bytes(b'no array')
    with pytest.raises(ValueError, match=r'x\.npy cannot be read as \.npy'):
        read_images(tmp_path / 'x.npy', None, 4)
    whole = write(tmp_path / 'y.npy', np.zeros((9, 8, 8))).read_bytes()
    (tmp_path / 'y.npy').write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r'y\.npy cannot be read as \.npy'):
        read_images(tmp_path / 'y.npy', None, 4)
    np.savez(tmp_path / 'z.npz', train=np.zeros((9, 8, 8)), other=np.zeros((9, 8, 8)))
    with pytest.raises(
        ValueError, match=r"z\.npz must hold one array, or 'train' and 'test', got \['other', 'train'\]"
    ):
        read_images(tmp_path / 'z.npz', None, 4)
    np.savez(tmp_path / 'w.npz', train=np.zeros((9, 8, 8)), test=np.zeros((9, 8, 9)))
    with pytest.raises(ValueError, match=r"w\.npz: images of 'train' and 'test' must have one size"):
        read_images(tmp_path / 'w.npz', None, 4)
    with zipfile.ZipFile(tmp_path / 'w.npz', 'w') as archive:
        archive.writestr('train.txt', 'no array')
    with pytest.raises(ValueError, match=r"w\.npz must hold arrays alone, got the member 'train\.txt', which is no"):
        read_images(tmp_path / 'w.npz', None, 4)
    with pytest.raises(FileNotFoundError, match=r'there is no file .*v\.npy'):
        read_images(tmp_path / 'v.npy', None, 4)
    with pytest.raises(ValueError, match=r"data must be 'noise' or a file \.npy or \.npz, got 'pictures'"):
        tasks.create_task(QUICK.updated(data='pictures'))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'flip': 0.5, 'dropout': 0.1}, r'what the task steerable has no use for, got dropout=0\.1, flip=0\.5'),
        ({'mean': (0.5, 0.5, 0.5)}, r'no use for, got mean=\(0\.5, 0\.5, 0\.5\)'),
        ({'train_examples': 1}, r'train_examples must be a number >= 2, got 1'),
        ({'batch_size': 6401}, r'batch_size must be at most the 6400 training examples, got 6401'),
    ],
)
def test_settings_that_do_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tasks.create_task(QUICK.updated(**settings)).steps_per_epoch(settings.get('batch_size', 2))


def test_networks_that_are_not_for_it_are_refused():
    with pytest.raises(ValueError, match=r"model of the task steerable must be steerable_filter, got 'resnet8'"):
        tasks.build('resnet8', 1, QUICK.updated(model='resnet8'))
    with pytest.raises(ValueError, match=r'arguments must fit steerable_filter, got .*sise=7: .*sise'):
        tasks.build('steerable_filter', 1, QUICK.updated(arguments='{"sise": 7}'))


SMALL = ('--task', 'steerable', '--image-size', '12', '--width', '0.25', '--epochs', '2', '--batch-size', '8')
SMALL = (*SMALL, '--train-examples', '24', '--test-examples', '5')


@pytest.fixture(scope='module')
def run(tmp_path_factory, compiled_once):
    """The folder of a run by the command line."""
    folder = tmp_path_factory.mktemp('steerable') / 'run'
    assert cli.main(['train', *SMALL, '--run-dir', str(folder)]) == 0
    return folder


def test_a_run_is_trained_drawn_and_evaluated_again(run, capsys):
    results = run_folder.read_results(run)
    assert (results['task'], results['score'], list(results['settings'])[:1]) == ('noise', 'explained', ['task'])
    assert {'test_mse', 'test_explained', 'test_filter_correlation', 'test_loss'} <= results['dynamic'].keys()
    losses = [record['train']['loss'] for record in results['dynamic']['history']]
    assert losses[1] < losses[0]
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 800 and len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 100
    assert cli.main(['evaluate', str(run)]) == 0
    assert 'as recorded' in capsys.readouterr().out
    assert cli.main(['predict', '--run', str(run), str(run / run_folder.PICTURE)]) == 2
    assert 'is of steerable' in capsys.readouterr().err


def test_eight_devices_give_the_numbers_of_one_and_no_activation_travels():
    task = SteerableFiltering(Noise(10, 32, 16))
    settings = Settings().updated(task='steerable', model='steerable_filter', width=0.25)
    model = tasks.build('steerable_filter', 1, settings)
    where = parallel.placement(model, 'replicate', of=task)
    one = parallel.run(model, parallel.placement(model, 'replicate', devices=1, of=task), of=task)
    assert_same(parallel.run(model, where, of=task), one)
    check_traffic(model, where, 'replicate', of=task)


@pytest.mark.slow
def test_the_quick_run_learns_the_filters(tmp_path):
    """The marks of `--task steerable`, the worst angle included."""
    assert cli.main(['train', '--task', 'steerable', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    assert results['dynamic']['test_mse'] < 1e-3
    assert results['dynamic']['test_filter_correlation'] > 0.99
    assert results['seconds'] < 600
    settings = Settings.from_json(results['settings'])
    plan, state, _ = runs.restore(runs.open_run(tmp_path / 'run'), 'dynamic', tasks.create_task(settings), settings)
    theta = jnp.linspace(0, 2 * np.pi, 1000, endpoint=False)
    taps = plan.model.apply(state.evaluated, theta, method='taps')
    assert correlation(taps, steering_kernel(theta)).min() > 0.99
