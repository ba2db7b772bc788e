"""Digits of idx files and recorded videos: what is read, and what is wrong names its file."""

import gzip

import numpy as np
import pytest

from flax_dynconv.training import tasks
from flax_dynconv.training.data.idx_files import read_idx_images
from flax_dynconv.training.recipes import find_recipe
from flax_dynconv.training.video.moving_digits import idx_digits
from flax_dynconv.training.video.recorded import read_videos
from flax_dynconv.training.video.task import FramePrediction
from tests.training import passes_contract

QUICK = find_recipe('video').settings


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
    assert ('axes taken as (frames, videos, height, width)' in task.name) == (layout == 'frames first')
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
