"""The digits: a fixed stratified split, every held-out scan once, augmentation that only shifts."""

import importlib
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training.digits import digits, shift
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task


@pytest.fixture(scope='module')
def task():
    return digits()


def test_the_split_is_fixed_stratified_and_disjoint(task):
    train, test = task.images['train'], task.images['test']
    assert (train.shape, test.shape) == ((1347, 8, 8, 1), (450, 8, 8, 1))
    assert train.dtype == test.dtype == np.float32
    everyone = np.bincount(np.concatenate([task.labels['train'], task.labels['test']]))
    assert everyone.sum() == 1797
    assert np.abs(np.bincount(task.labels['test']) - everyone / 4).max() < 1
    assert not {scan.tobytes() for scan in train} & {scan.tobytes() for scan in test}
    # Which scans are held out, so that a change of the split does not pass unnoticed.
    assert zlib.crc32(task.labels['test'].tobytes()) == zlib.crc32(digits().labels['test'].tobytes()) == 1889029269


def test_pixels_are_standardised_by_the_training_scans(task):
    assert abs(task.images['train'].mean()) < 1e-5
    assert task.images['train'].std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('batch_size', [7, 50, 450, 451])
def test_every_held_out_scan_counts_once(task, batch_size):
    batches = list(task.batches('test', batch_size))
    assert {batch['image'].shape for batch in batches} == {(batch_size, 8, 8, 1)}
    mask = np.concatenate([batch['mask'] for batch in batches])
    assert mask.sum() == 450
    images = np.concatenate([batch['image'] for batch in batches])[mask > 0]
    np.testing.assert_array_equal(images, task.images['test'])


def test_training_batches_are_a_function_of_seed_and_epoch(task):
    def first(seed, epoch):
        return next(iter(task.batches('train', 64, seed, epoch)))

    again, other_epoch, other_seed = first(3, 5), first(3, 6), first(4, 5)
    np.testing.assert_array_equal(first(3, 5)['image'], again['image'])
    assert not np.array_equal(again['image'], other_epoch['image'])
    assert not np.array_equal(again['image'], other_seed['image'])


@pytest.mark.parametrize('split', ['train', 'test'])
def test_parts_of_a_pass_are_those_of_the_whole(task, split):
    whole = list(task.batches(split, 64, 3, 5))
    for start in (1, 5, len(whole)):
        tail = list(task.batches(split, 64, 3, 5, start=start))
        assert len(tail) == len(whole) - start
        for one, other in zip(whole[start:], tail, strict=True):
            np.testing.assert_array_equal(one['image'], other['image'])
    halves = [task.batches(split, 64, 3, 5, rows=rows) for rows in np.arange(64).reshape(2, -1)]
    for one, *parts in zip(whole, *halves, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], np.concatenate([part[name] for part in parts]))


def test_an_epoch_shows_no_scan_twice(task):
    task = digits()
    task.augment = None
    images = np.concatenate([batch['image'] for batch in task.batches('train', 64)])
    assert len(images) == 64 * task.steps_per_epoch(64) == 64 * 21
    assert len({image.tobytes() for image in images}) >= len(images) - 2  # scans that are equal in the data


def test_shift_moves_by_at_most_one_pixel():
    image = np.zeros((400, 8, 8, 1), np.float32)
    image[:, 4, 3] = 1
    moved = shift(image, np.random.default_rng(0))
    assert np.all(moved.sum((1, 2, 3)) == 1)
    rows, columns = np.argwhere(moved[..., 0])[:, 1:].T
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(r, c) for r in (3, 4, 5) for c in (2, 3, 4)}


def test_what_is_filled_in_counts_nowhere(task):
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((5, 10)), jnp.float32)
    batch = {'label': np.array([1, 2, 3, 0, 0]), 'mask': np.array([1, 1, 1, 0, 0], np.float32)}
    short = {'label': batch['label'][:3], 'mask': batch['mask'][:3]}
    assert float(task.loss(logits, batch)) == pytest.approx(float(task.loss(logits[:3], short)))
    full, cut = (task.summary(task.metrics(*pair)) for pair in ((logits, batch), (logits[:3], short)))
    assert full == pytest.approx(cut)
    probability = np.exp(logits[:3]) / np.exp(logits[:3]).sum(-1, keepdims=True)
    assert full['loss'] == pytest.approx(-np.log(probability[np.arange(3), short['label']]).mean(), rel=1e-6)


def test_half_precision_logits_are_summed_in_float32(task):
    logits = jnp.zeros((400, 10), jnp.bfloat16)
    totals = task.metrics(logits, {'label': np.zeros(400, np.int32), 'mask': np.ones(400, np.float32)})
    assert totals['loss'].dtype == jnp.float32
    assert task.summary(totals)['loss'] == pytest.approx(np.log(10), rel=1e-6)


def test_mistakes_are_named(task):
    with pytest.raises(ValueError, match=r'batch_size must be at most the 1347 training images, got 2000'):
        next(iter(task.batches('train', 2000)))
    with pytest.raises(ValueError, match=r"split must be one of \['test', 'train'\], got 'validation'"):
        task.batches('validation', 8)
    with pytest.raises(ValueError, match=r'start must be from 0 to 21, the batches of a pass, got 22'):
        task.batches('train', 64, start=22)
    with pytest.raises(ValueError, match=r'rows must be from 0 to 63, got 0 to 64'):
        task.batches('test', 64, rows=[0, 64])


@pytest.mark.parametrize(
    ('settings', 'listed'),
    [
        ({'flip': 0.5}, 'flip=0.5'),
        ({'crop': 'padded', 'mixup': 0.2}, "crop='padded', mixup=0.2"),
        ({'image_size': 32, 'std': (1.0, 1.0, 1.0)}, 'image_size=32, std='),
    ],
)
def test_other_augmentation_than_the_shift_is_refused(settings, listed):
    with pytest.raises(ValueError, match=f'settings must leave that as it is, got {listed}'):
        create_task(Settings().updated(**settings))


def test_label_smoothing_is_for_digits_too(task):
    smoothed = create_task(Settings().updated(label_smoothing=0.1))
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((1, 10)), jnp.float32)
    batch = {'label': np.array([4]), 'mask': np.ones(1, np.float32)}
    logs = np.asarray(logits - np.log(np.exp(logits).sum()))[0]
    assert float(smoothed.loss(logits, batch)) == pytest.approx(-0.9 * logs[4] - 0.1 * logs.mean(), rel=1e-5)
    # The figures are those of the labels themselves.
    assert smoothed.summary(smoothed.metrics(logits, batch)) == task.summary(task.metrics(logits, batch))


def test_a_missing_extra_is_said(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, 'import_module', refuse)
    with pytest.raises(ImportError, match=r"scikit-learn is not installed.*pip install '\.\[train\]'"):
        digits()
