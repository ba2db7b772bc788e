"""Digits that bounce: where they are, which, and that a video depends on seed, epoch and position alone."""

import functools

import numpy as np

from flax_dynconv.training.video.bouncing import Bouncing, drawn, trajectory
from flax_dynconv.training.video.moving_digits import Digits, enlarged, scikit_learn_digits
from flax_dynconv.training.video.task import FramePrediction
from tests.training import passes_contract


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
    task = bouncing(canvas=200, frames=2, train=400, seen=1, count=1)
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
