"""Prediction of frames: the digits that bounce, recorded videos, figures, bad files, a run from start to end."""

import functools
import gzip
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
from flax_dynconv.training.data.idx_files import read_idx_images
from flax_dynconv.training.recipes import find_recipe
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.video import figures
from flax_dynconv.training.video.bouncing import Bouncing, drawn, trajectory
from flax_dynconv.training.video.motion import displacement
from flax_dynconv.training.video.moving_digits import Digits, enlarged, idx_digits, scikit_learn_digits
from flax_dynconv.training.video.recorded import Recorded, read_videos
from flax_dynconv.training.video.task import FramePrediction
from tests.training import parallel, passes_contract
from tests.training.test_parallel import assert_same, check_traffic

QUICK = find_recipe('video').settings


@functools.cache
def shades():
    """Digits that are told apart by their brightness: those for training and those for tests."""
    train = np.float32([0.2, 0.4])[:, None, None] * np.ones((2, 3, 2), np.float32)
    return Digits(train, train + np.float32(0.5), 'shades')


def bouncing(canvas=8, frames=5, train=12, test=7, seen=3, loss='bce', count=2):
    return FramePrediction(Bouncing(shades(), canvas, frames, count, 0.1, train, test), seen, loss)


def test_videos_are_a_function_of_seed_epoch_and_position():
    passes_contract.check(bouncing(), 'frames', 7, fresh=True)


def test_test_videos_are_of_digits_that_training_does_not_see():
    task = bouncing()
    train = np.concatenate([b['frames'] for epoch in range(3) for b in task.batches('train', 12, 0, epoch)])
    assert set(np.unique(train).tolist()) == {0.0, *np.unique(shades().train).tolist()}
    test = np.concatenate([b['frames'] for b in task.batches('test', 7)])
    assert set(np.unique(test).tolist()) <= {0.0, *np.unique(shades().test).tolist()}


def test_a_path_is_straight_clamped_and_turns_at_edges():
    random = np.random.default_rng(0)
    start, direction = random.random((50, 2)), random.uniform(0, 2 * np.pi, 50)
    path = trajectory(start, direction, 0.1, 40)
    np.testing.assert_array_equal(path[0], start)
    assert path.min() == 0 and path.max() == 1
    moved = np.diff(path, axis=0)
    speed = 0.1 * np.abs(np.stack([np.cos(direction), np.sin(direction)], 1))
    inside = (path[1:] > 0) & (path[1:] < 1)
    assert inside.mean() > 0.8
    # Away from edges a digit moves at its own speed; at an edge by less; afterwards the other way.
    np.testing.assert_allclose(np.abs(moved)[inside], np.broadcast_to(speed, moved.shape)[inside], atol=1e-12)
    assert (np.abs(moved) <= speed + 1e-12).all()
    before, after, turns = moved[:-1], moved[1:], ~inside[:-1]
    assert turns.any() and (np.sign(after[turns]) == np.where(path[1:-1][turns] == 0, 1, -1)).all()
    straight = ~turns & inside[1:]
    assert (np.sign(after[straight]) == np.sign(before[straight])).all()


def test_directions_and_starts_are_uniform():
    task = bouncing(canvas=200, frames=2, train=400, count=1)
    frames = np.concatenate([b['frames'][..., 0] for b in task.batches('train', 400)])
    corners = np.array([[np.argwhere(frame > 0).min(axis=0) for frame in video] for video in frames])
    position = corners[:, 0] / [197, 198]
    assert np.abs(position.mean(0) - 0.5).max() < 0.05 and np.abs(position.var(0) - 1 / 12).max() < 0.02
    step = (corners[:, 1] - corners[:, 0]) / [197, 198]
    free = (corners[:, 1] > 0).all(1) & (corners[:, 1] < [197, 198]).all(1)
    assert np.abs(np.linalg.norm(step[free], axis=1) - 0.1).max() < 0.01
    assert np.abs(step[free].mean(0)).max() < 0.015


def test_pixels_are_where_the_path_is_and_the_brighter_one_is_seen():
    images = np.float32([[[0.3, 0.9]], [[0.5, 0.5]]])
    video = drawn(images, np.array([[[0.0, 0.0], [1.0, 1.0]], [[0.5, 0.49], [0.5, 0.5]]]), 5)[..., 0]
    expected = np.zeros((2, 5, 5), np.float32)
    expected[0, 0, :2], expected[0, 4, 3:] = (0.3, 0.9), 0.5
    # int(4 * 0.5) = 2 rows down; int(3 * 0.49) = int(3 * 0.5) = 1 to the right.
    expected[1, 2, 1:3] = (0.5, 0.9)
    np.testing.assert_array_equal(video, expected)


def test_digits_of_scikit_learn_are_enlarged_and_held_out():
    found = scikit_learn_digits(32)
    assert (found.train.shape, found.test.shape) == ((1347, 14, 14), (450, 14, 14))
    for images in (found.train, found.test):
        assert images.dtype == np.float32 and images.min() == 0 and images.max() == 1
        assert np.mean((images < 0.05) | (images > 0.95)) > 0.7
    assert not {image.tobytes() for image in found.train} & {image.tobytes() for image in found.test}
    assert scikit_learn_digits(64).test.shape[1:] == (28, 28)
    flat = enlarged(np.full((1, 8, 8), 0.6), 14)
    np.testing.assert_allclose(flat, 0.8, rtol=1e-6)
    ramp = enlarged(np.broadcast_to(np.linspace(0.4, 0.6, 8), (1, 8, 8)), 16)[0, 0]
    np.testing.assert_allclose(np.diff(ramp[1:-1]), 3 * 0.2 / 7 / 2, rtol=1e-4)


def test_batches_have_frames_seen_and_frames_that_follow():
    task = bouncing()
    batch = next(task.batches('train', 4))
    np.testing.assert_array_equal(np.concatenate([task.inputs(batch)[0], task.truth(batch)], axis=1), batch['frames'])
    assert task.inputs(batch)[0].shape == (4, 3, 8, 8, 1)


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


def idx(images):
    return b'\0\0\x08\x03' + np.array(images.shape, '>u4').tobytes() + images.tobytes()


@pytest.mark.parametrize('packed', [gzip.compress, bytes], ids=['gz', 'plain'])
def test_idx_files_are_read(packed, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (14, 3, 4), np.uint8)
    (tmp_path / 't10k-images-idx3-ubyte.gz').write_bytes(packed(idx(images)))
    (tmp_path / 't10k-labels-idx1-ubyte.gz').write_bytes(b'not looked at')
    one = idx_digits(tmp_path)
    np.testing.assert_array_equal(np.concatenate([one.train, one.test]), np.float32(images) / np.float32(255))
    assert len(one.test) == 2
    assert one.name == 'bouncing digits of t10k-images-idx3-ubyte.gz, the last 2 for tests'
    np.testing.assert_array_equal(idx_digits(tmp_path / 't10k-images-idx3-ubyte.gz').test, one.test)
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(packed(idx(255 - images)))
    both = idx_digits(tmp_path)
    np.testing.assert_array_equal(both.train, np.float32(255 - images) / np.float32(255))
    np.testing.assert_array_equal(both.test, np.float32(images) / np.float32(255))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', r'digits\.idx must be an idx file of images, which begins with the bytes 00 00 08 03, got $'),
        (b'\0\0\x08\x01' + bytes(20), r'digits\.idx must be an idx file .* got 00 00 08 01'),
        (idx(np.ones((14, 3, 3), np.uint8))[:-1], r'digits\.idx must hold \(14, 3, 3\) pixels .* got 125'),
        (gzip.compress(idx(np.ones((14, 3, 3), np.uint8)))[:-9], r'digits\.idx is a damaged gzip file'),
        (idx(np.ones((0, 3, 3), np.uint8)), r'digits\.idx must hold \(0, 3, 3\) pixels'),
        (idx(np.ones((6, 3, 3), np.uint8)), r'digits\.idx must hold at least 7 images to be divided, got 6'),
    ],
    ids=['empty', 'labels', 'short', 'damaged', 'none', 'few'],
)
def test_bad_idx_files_are_named(content, message, tmp_path):
    (tmp_path / 'digits.idx').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        idx_digits(tmp_path / 'digits.idx')


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'must hold idx files of images called train-images'):
        idx_digits(tmp_path)
    (tmp_path / 'train-images.idx3-ubyte').write_bytes(idx(np.ones((7, 3, 3), np.uint8)))
    (tmp_path / 't10k-images.idx3-ubyte').write_bytes(idx(np.ones((7, 3, 4), np.uint8)))
    with pytest.raises(ValueError, match=r'must have one size, got .*t10k-images.*\(7, 3, 4\)'):
        idx_digits(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder nowhere, and it is not 'bouncing'"):
        tasks.create_task(QUICK.updated(data='nowhere'))
    (tmp_path / 't10k-images.idx3-ubyte').write_bytes(idx(np.ones((7, 3, 3), np.uint8)))
    with pytest.raises(ValueError, match=r'image_size must be at least that of the digits, \(3, 3\), got 2'):
        tasks.create_task(QUICK.updated(data=str(tmp_path), image_size=2))
    frames = tasks.create_task(QUICK.updated(data=str(tmp_path))).example()['frames']
    assert frames.shape == (1, 10, 64, 64, 1)


def test_mnist_is_read(request):
    """The sample of the test digits, where it is there."""
    folder = request.config.rootpath.parent / 'shared' / 'data' / 'mnist'
    if not folder.is_dir():
        pytest.skip('no MNIST here')
    images = read_idx_images(folder / 't10k-images-idx3-ubyte.gz')
    assert images.shape == (10000, 28, 28)
    frames = next(tasks.create_task(QUICK.updated(data=str(folder))).batches('train', 2))['frames']
    assert frames.shape == (2, 10, 64, 64, 1) and 0 <= frames.min() < 0.9 < frames.max() <= 1


def write(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize('layout', ['videos first', 'frames first', 'with channel'])
def test_recorded_videos_of_either_axis_order(layout, tmp_path):
    videos = np.random.default_rng(0).integers(0, 256, (20, 6, 4, 8), np.uint8)
    stored = {'videos first': videos, 'frames first': videos.swapaxes(0, 1), 'with channel': videos[..., None]}[layout]
    task = FramePrediction(read_videos(write(tmp_path / 'x.npy', stored), 5, 7), 3)
    passes_contract.check(task, 'frames', 7)
    np.testing.assert_array_equal(
        next(task.batches('test', 7))['frames'][..., 0], np.float32(videos[13:, :5]) / np.float32(255)
    )
    windows = np.lib.stride_tricks.sliding_window_view(np.float32(videos[:13]) / np.float32(255), 5, axis=1)
    seen = set()
    for batch in task.batches('train', 13):
        for frames in batch['frames'][..., 0]:
            ((owner, first),) = np.argwhere((windows == np.moveaxis(frames, 0, -1)).all(axis=(2, 3, 4)))
            seen.add((int(owner), int(first)))
    assert sorted(owner for owner, _ in seen) == list(range(13))
    assert {first for _, first in seen} == {0, 1}


def test_stereo_pairs_are_videos_of_two_frames(tmp_path):
    left, right = np.random.default_rng(0).random((2, 9, 4, 8)).astype(np.float32)
    np.savez(tmp_path / 'x.npz', left=left, right=right)
    recorded = read_videos(tmp_path / 'x.npz', 2, 4)
    assert (recorded.size('train'), recorded.size('test')) == (5, 4)
    np.testing.assert_array_equal(recorded.test(1)['frames'][..., 0], [left[6], right[6]])
    np.savez(tmp_path / 'y.npz', left=left, right=right, left_test=left[:2], right_test=right[:2])
    recorded = read_videos(tmp_path / 'y.npz', 2, 4)
    assert (recorded.size('train'), recorded.size('test')) == (9, 2)
    np.testing.assert_array_equal(recorded.test(1)['frames'][..., 0], [left[1], right[1]])


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((9, 6, 4)), r'x\.npy must be \(videos, frames, height, width\).* got the shape \(9, 6, 4\)'),
        (np.zeros((9, 6, 4, 4, 3)), r'x\.npy must be .* got the shape \(9, 6, 4, 4, 3\)'),
        (np.zeros((9, 6, 4, 4), np.int32), r'x\.npy must be uint8, bool or floats, got int32'),
        (np.full((9, 6, 4, 4), 1.5), r'x\.npy must have floats from 0 to 1, got 1\.5 to 1\.5'),
        (np.zeros((9, 4, 4, 4)), r'x\.npy must have input_frames \+ output_frames = 5 frames in every video .* got 4'),
        (np.zeros((7, 6, 4, 4)), r'x\.npy must have more than test_examples = 7 examples, got 7'),
    ],
)
def test_bad_videos_are_named(array, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_videos(write(tmp_path / 'x.npy', array), 5, 7)


@pytest.mark.parametrize(
    ('arrays', 'frames', 'message'),
    [
        ({'left': 9}, 2, r"x\.npz must hold the stereo pairs \['left', 'right'\]; missing: \['right'\], unknown: \[\]"),
        ({'left': 9, 'right': 8}, 2, r"x\.npz: 'left' and 'right' must have one shape and dtype, got \(9, 4, 8\)"),
        ({'left': 9, 'right': 9, 'left_test': 2}, 2, r"missing: \['right_test'\]"),
        ({'left': 9, 'right': 9, 'depth': 9}, 2, r"unknown: \['depth'\]"),
        (
            {'left': 9, 'right': 9},
            20,
            r'x\.npz holds stereo pairs: input_frames and output_frames must be 1, got 20 in',
        ),
        ({'a': 9, 'b': 9}, 2, r"x\.npz, array 'a' must be \(videos, frames, height, width\)"),
    ],
)
def test_missing_pairs_are_named(arrays, frames, message, tmp_path):
    np.savez(tmp_path / 'x.npz', **{name: np.zeros((count, 4, 8)) for name, count in arrays.items()})
    with pytest.raises(ValueError, match=message):
        read_videos(tmp_path / 'x.npz', frames, 2)


def test_damaged_and_unequal_files_are_named(tmp_path):
    np.savez(tmp_path / 'x.npz', train=np.zeros((3, 5, 4, 8)), test=np.zeros((3, 5, 4, 4)))
    with pytest.raises(ValueError, match=r'x\.npz: frames for training and tests must have one size'):
        read_videos(tmp_path / 'x.npz', 5, 2)
    (tmp_path / 'x.npz').write_bytes((tmp_path / 'x.npz').read_bytes()[:200])
    with pytest.raises(ValueError, match=r'x\.npz cannot be read as \.npz'):
        read_videos(tmp_path / 'x.npz', 5, 2)
    write(tmp_path / 'y.npy', np.zeros((9, 5, 4, 8)))
    with pytest.raises(
        ValueError, match=r'image_size must be that of the frames in .*y\.npy, \(4, 8\), or None, got 4'
    ):
        tasks.create_task(
            QUICK.updated(data=str(tmp_path / 'y.npy'), image_size=4, input_frames=2, output_frames=2, test_examples=2)
        )


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
        losses = [record['train']['loss'] for record in results[role]['history']]
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
    """From the checkpoint of the first epoch."""
    settings = Settings.from_json(run_folder.read_results(run)['settings'])
    task = tasks.create_task(settings)
    model = tasks.build('dfn_moving_mnist', 1, settings)
    with Checkpoints(tmp_path, 2, task.score) as checkpoints:
        loop.fit(model, task, settings.updated(epochs=1, schedule='constant'), checkpoints=checkpoints)
        resumed = loop.fit(model, task, settings.updated(schedule='constant'), checkpoints=checkpoints)
    whole = loop.fit(model, task, settings.updated(schedule='constant'))
    jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)
    assert [r['test'] for r in resumed.history] == [r['test'] for r in whole.history]


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
    variables = task.init(model, jax.random.key(0))
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
