"""Prediction of frames: figures, networks and recipes, a run from start to end."""

import json

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.models import FRAME_PREDICTORS, count
from flax_dynconv.training import loop, run_folder, tasks
from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.interruption import Interrupted
from flax_dynconv.training.recipes import find_recipe
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.video import figures
from flax_dynconv.training.video.motion import displacement
from flax_dynconv.training.video.recorded import Recorded
from flax_dynconv.training.video.task import FramePrediction
from tests.training import parallel
from tests.training.host import Switch
from tests.training.test_bouncing import bouncing
from tests.training.test_parallel import assert_same, check_traffic

QUICK = find_recipe('video').settings


def reference(predicted, frames):
    """Cross-entropy and squared error in float64, with p clipped as float32 has it."""
    p, t = np.clip(np.float64(predicted), 2.0**-23, 1 - 2.0**-23), np.float64(frames)
    return np.mean(-(t * np.log(p) + (1 - t) * np.log(1 - p))), np.mean((np.float64(predicted) - t) ** 2)


@pytest.mark.parametrize('loss', ['bce', 'mse'])
def test_figures_are_those_of_float64_and_what_fills_up_counts_nowhere(loss):
    task, random = bouncing(test=5, loss=loss), np.random.default_rng(1)
    batches = list(task.batches('test', 3))
    outputs = [np.float32(random.uniform(-0.1, 1.1, (3, 2, 8, 8, 1))) for _ in batches]
    outputs[1][2:] = np.nan
    totals = None
    for output, batch in zip(outputs, batches, strict=True):
        metrics = task.metrics(output, batch)
        totals = metrics if totals is None else jax.tree.map(jnp.add, totals, metrics)
    predicted = np.concatenate([outputs[0], outputs[1][:2]])
    frames = np.concatenate([task.truth(batches[0]), task.truth(batches[1])[:2]])
    bce, mse = reference(predicted, frames)
    best = np.broadcast_to(np.float64(frames).mean(axis=(0, 1)), frames.shape)
    own, constant = (bce, reference(best, frames)[0]) if loss == 'bce' else (mse, reference(best, frames)[1])
    expected = {'loss': own, 'bce': bce, 'mse': mse, f'constant_{loss}': constant, 'saved': 1 - own / constant}
    assert task.summary(totals) == pytest.approx(expected, rel=2e-5)
    last = reference(outputs[1][:2], task.truth(batches[1])[:2])[loss == 'mse']
    assert float(task.loss(outputs[1], batches[1])) == pytest.approx(last, rel=1e-5)


def test_no_constant_image_is_better_than_the_best():
    frames = np.concatenate([b['frames'] for b in bouncing(test=20).batches('test', 20)])
    mean, random = np.float64(frames).mean(axis=(0, 1)), np.random.default_rng(0)
    least = figures.of_best_constant(mean, np.mean(np.float64(frames) ** 2))
    for _ in range(20):
        other = np.broadcast_to(np.clip(mean + random.normal(0, 0.02, mean.shape), 0, 1), frames.shape)
        bce, mse = reference(other, frames)
        assert bce > least['bce'] and mse > least['mse']


def test_cross_entropy_at_the_ends_and_its_gradient():
    p, t = jnp.float32([0.0, 1.0, 0.0, 1.0, 0.3]), jnp.float32([0.0, 1.0, 1.0, 0.0, 0.75])
    each = np.asarray(figures.cross_entropy(p, t), np.float64)
    eps = 2.0**-23
    wrong = -np.log(eps)
    right = -np.log1p(-eps)
    expected = [right, right, wrong, wrong, -(0.75 * np.log(0.3) + 0.25 * np.log(0.7))]
    np.testing.assert_allclose(each, expected, rtol=1e-6)
    slope = jax.grad(lambda p: jnp.sum(figures.cross_entropy(p, t)))(jnp.full(5, 0.3))
    np.testing.assert_allclose(slope, (0.3 - np.asarray(t, np.float64)) / (0.3 * 0.7), rtol=1e-5)
    assert not jax.grad(lambda p: jnp.sum(figures.cross_entropy(p, t)))(jnp.float32([-1, 2, -1, 2, 2])).any()


def test_half_precision_is_measured_in_float32():
    task = bouncing()
    batch = next(task.batches('test', 7))
    metrics = task.metrics(jnp.zeros((7, 2, 8, 8, 1), jnp.bfloat16), batch)
    assert {value.dtype for value in metrics.values()} == {np.dtype(np.float32)}


def test_displacement_is_that_of_a_shift():
    taps = np.zeros((2, 15))
    taps[0, 0 * 5 + 1] = 1  # row -1, column -1
    taps[1, [2 * 5 + 4, 1 * 5 + 2]] = 0.5  # half of row 1, column 2; half stays
    np.testing.assert_allclose(displacement(taps, (3, 5)), [[1, 1], [-0.5, -1]])


def test_which_networks_are_trained():
    full = find_recipe('dfn-moving-mnist').settings
    assert tasks.networks(full) == {'dynamic': 'dfn_moving_mnist', 'static': 'dfn_moving_mnist_baseline'}
    assert tasks.networks(full.updated(twin=False)) == {'dynamic': 'dfn_moving_mnist'}
    assert tasks.networks(full.updated(model='dfn_stereo_baseline')) == {'static': 'dfn_stereo_baseline'}
    with pytest.raises(ValueError, match=r"model of the task video must be one of dfn_moving_mnist.*, got 'resnet8'"):
        tasks.build('resnet8', 1, full.updated(model='resnet8'))
    with pytest.raises(ValueError, match=r'arguments must fit dfn_stereo, got .*sise=7'):
        tasks.build('dfn_stereo', 1, full.updated(arguments='{"sise": 7}'))
    with pytest.raises(ValueError, match=r'the task video has no use for, got num_kernels=4'):
        tasks.create_task(full.updated(num_kernels=4))


@pytest.mark.parametrize(
    ('recipe', 'parameters'),
    [('dfn-moving-mnist', (637_361, 637_443)), ('dfn-highway', (368_122, None)), ('dfn-stereo', (464_494, None))],
)
def test_recipes_train_the_published_networks(recipe, parameters):
    settings = find_recipe(recipe).settings
    frames = jax.ShapeDtypeStruct((1, settings.frames.input_frames, 64, 64, 1), jnp.float32)
    for name, expected in zip(tasks.networks(settings).values(), parameters, strict=True):
        network = tasks.build(name, 1, settings)
        assert network.output_frames == settings.frames.output_frames
        if expected is not None:
            assert count(network, frames).parameters == expected


SMALL = {
    'width': 0.05,
    'arguments': '{"filter_size": 3}',
    'image_size': 18,
    'input_frames': 2,
    'output_frames': 2,
    'batch_size': 8,
    'evaluation_batch_size': 4,
    'train_examples': 24,
    'test_examples': 5,
    'epochs': 2,
}


@pytest.fixture(scope='module')
def run(tmp_path_factory, compiled_once):
    """The folder of a run by the command line."""
    folder = tmp_path_factory.mktemp('video') / 'run'
    flags = [word for name, value in SMALL.items() for word in (f'--{name.replace("_", "-")}', str(value))]
    assert cli.main(['train', '--task', 'video', *flags, '--run-dir', str(folder)]) == 0
    return folder


def test_a_run_is_trained_drawn_and_evaluated_again(run, capsys):
    results = run_folder.read_results(run)
    assert (results['task'], results['score']) == ('bouncing digits', 'saved')
    assert results['dynamic']['model'] == 'dfn_moving_mnist'
    assert results['static']['model'] == 'dfn_moving_mnist_baseline'
    for role in ('dynamic', 'static'):
        assert {'test_bce', 'test_mse', 'test_constant_bce', 'test_saved', 'test_loss'} <= results[role].keys()
        assert [record['test']['saved'] for record in results[role]['history']][-1] == results[role]['test_saved']
    losses = [record['train']['loss'] for record in results['static']['history']]
    assert losses[1] < losses[0]
    # The images are the same for both, and so is the best constant one.
    assert results['dynamic']['test_constant_bce'] == results['static']['test_constant_bce']
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 600 and len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 100
    assert cli.main(['evaluate', str(run), '--json']) == 0
    reloaded = json.loads(capsys.readouterr().out)
    assert reloaded['static']['reloaded'] == results['static']['history'][-1]['test']
    assert cli.main(['predict', '--run', str(run), str(run / run_folder.PICTURE)]) == 2
    assert 'is of video' in capsys.readouterr().err


def test_a_run_goes_on_to_the_same_bits(run, tmp_path):
    """Asked to end within the second epoch."""
    results = run_folder.read_results(run)
    settings = Settings.from_json(results['settings'])
    task = tasks.create_task(settings)
    model = tasks.build('dfn_moving_mnist', 1, settings)
    with Checkpoints(tmp_path, 2, task.score) as checkpoints:
        with pytest.raises(Interrupted) as end:
            loop.fit(model, task, settings, checkpoints=checkpoints, interruption=Switch(7))
        assert 3 < end.value.step < 6
        history = loop.fit(model, task, settings, checkpoints=checkpoints).history
    for record, whole in zip(history, results['dynamic']['history'], strict=True):
        assert (record['train'], record['test']) == (whole['train'], whole['test'])
        assert record['gradient_norm'] == whole['gradient_norm']


def test_eight_devices_give_the_numbers_of_one_and_no_activation_travels():
    task = bouncing(canvas=8, frames=4, train=32, test=16, seen=2)
    settings = Settings().updated(
        task='video', model='dfn_moving_mnist', width=0.05, output_frames=2, arguments='{"filter_size": 3}'
    )
    model = tasks.build('dfn_moving_mnist', 1, settings)
    where = parallel.placement(model, 'replicate', of=task)
    one = parallel.run(model, parallel.placement(model, 'replicate', devices=1, of=task), of=task)
    assert_same(parallel.run(model, where, of=task), one)
    check_traffic(model, where, 'replicate', of=task)


def test_pictures_of_stereo_pairs_have_horizontal_filters(tmp_path):
    pairs = np.random.default_rng(0).random((6, 2, 8, 16)).astype(np.float32)
    task = FramePrediction(Recorded('pairs', {'train': pairs, 'test': pairs[:2]}, 2), 1, 'mse')
    model = FRAME_PREDICTORS['dfn_stereo'](width=0.05, output_frames=1)
    quick = {'xla_backend_optimization_level': 0}
    variables = jax.jit(lambda key: task.init(model, key), compiler_options=quick)(jax.random.key(0))
    record = {'epoch': 1, 'train': {'loss': 1.0, 'saved': -0.5}, 'test': {'loss': 1.0, 'saved': 0.5}}
    from flax_dynconv.training.task import Trained

    task.picture(tmp_path / 'x.png', {'dynamic': Trained('dfn_stereo', model, variables, (record,))}, 2)
    assert matplotlib.image.imread(tmp_path / 'x.png').shape[0] > 300


@pytest.mark.slow
def test_the_quick_run_beats_the_constant_image_and_the_baseline(tmp_path):
    """The marks of `--task video`."""
    assert cli.main(['train', '--task', 'video', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    dynamic, static = (results[role]['test_bce'] for role in ('dynamic', 'static'))
    assert dynamic < 0.5 * results['dynamic']['test_constant_bce']
    assert dynamic < static
    assert results['seconds'] < 600
