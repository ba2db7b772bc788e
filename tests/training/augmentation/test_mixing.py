"""mixup and CutMix against numpy loops; the laws of the shares; pairs that know of no other pair."""

import math

import numpy as np
import pytest

from flax_dynconv.training.augmentation import mix
from flax_dynconv.training.augmentation.mixing import cut_box, cutmix, mixup
from flax_dynconv.training.settings import Augmentation
from tests.training.augmentation.laws import assert_follows, assert_frequency, uniform


def batch(rows, shape=(8, 10, 3)):
    images = np.random.default_rng(0).integers(0, 256, (rows, *shape), np.uint8)
    return images, np.arange(10, 10 + rows)


def generators(number, seed=0):
    return [np.random.default_rng((seed, j)) for j in range(number)]


@pytest.mark.parametrize('channels', [1, 3])
def test_mixup_is_a_rounded_mean(channels):
    images, labels = batch(6, (8, 10, channels))
    mixed = mix(images, labels, generators(3), Augmentation(mixup=0.7))
    assert mixed['image'].dtype == np.uint8 and mixed['share'].dtype == np.float32
    for i in range(6):
        own, other, share = images[i].astype(np.float64), images[i ^ 1].astype(np.float64), float(mixed['share'][i])
        assert 0 < share < 1
        # Half a level from rounding, and 2 * 255 roundings of float32 at most.
        np.testing.assert_allclose(mixed['image'][i], share * own + (1 - share) * other, rtol=0, atol=0.5 + 1e-4)
        assert mixed['label'][i] == labels[i] and mixed['other_label'][i] == labels[i ^ 1]
        assert mixed['share'][i] == mixed['share'][i ^ 1]


@pytest.mark.parametrize('channels', [1, 3])
def test_cutmix_is_a_box_of_the_partner(channels):
    images, labels = batch(8, (12, 9, channels))
    images[::2] |= 1
    images[1::2] &= 254
    mixed = mix(images, labels, generators(4), Augmentation(cutmix=1.0))
    for i in range(8):
        foreign = (mixed['image'][i] & 1 != (i + 1) % 2).all(-1)
        for y in range(12):
            for x in range(9):
                source = images[i ^ 1] if foreign[y, x] else images[i]
                np.testing.assert_array_equal(mixed['image'][i, y, x], source[y, x])
        rows, columns = np.nonzero(foreign)
        assert foreign.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert mixed['share'][i] == np.float32(1 - foreign.sum() / 108)
        assert mixed['label'][i] == labels[i] and mixed['other_label'][i] == labels[i ^ 1]


@pytest.mark.parametrize(
    ('alpha', 'cumulative'),
    [
        (1.0, uniform(0, 1)),
        (0.5, lambda x: 2 / math.pi * np.arcsin(np.sqrt(x))),
        (2.0, lambda x: 3 * x**2 - 2 * x**3),
    ],
)
def test_shares_of_mixup_are_beta(alpha, cumulative):
    one, generator = np.zeros((1, 1, 1), np.uint8), np.random.default_rng(0)
    assert_follows([mixup(one, one, generator, alpha)[2] for _ in range(3000)], cumulative)


def test_law_of_the_box():
    """Even shares u = 1 - lambda = r^2: E[side] = r - r^2 / 4 of a side, E[area] = 1/2 - 1/5 + 1/48."""
    generator, rng = np.random.default_rng(0), np.random.default_rng(1)
    boxes = np.array([cut_box(1000, 2000, rng.random(), generator) for _ in range(4000)])
    top, bottom, left, right = boxes.T
    assert top.min() >= 0 and left.min() >= 0 and bottom.max() <= 1000 and right.max() <= 2000
    area = (bottom - top) * (right - left) / 2e6
    assert abs(area.mean() - (1 / 2 - 1 / 5 + 1 / 48)) < 4 * area.std() / math.sqrt(4000) + 1e-3


@pytest.mark.parametrize('share', [0.19, 0.75, 0.99])
def test_sides_and_centre_of_the_box(share):
    """A box that is not cut has floor(side * sqrt(1 - share)) pixels; its centre may be any pixel."""
    generator = np.random.default_rng(0)
    lengths = [int(side * math.sqrt(1 - share)) for side in (20, 30)]
    seen = set()
    for _ in range(4000):
        top, bottom, left, right = cut_box(20, 30, share, generator)
        for start, stop, side, length in ((top, bottom, 20, lengths[0]), (left, right, 30, lengths[1])):
            assert stop - start == length or start == 0 or stop == side
            assert 0 < stop - start <= length
        seen.add((top, bottom, left, right))
    # Each centre gives another box, but where two edges are cut off.
    assert len(seen) > 0.9 * 20 * 30


def test_a_share_of_one_has_an_empty_box():
    top, bottom, left, right = cut_box(20, 30, 1.0, np.random.default_rng(0))
    assert top == bottom and left == right


def test_the_share_of_cutmix_counts_pixels():
    white = np.full((13, 7, 3), 255, np.uint8)
    for seed in range(20):
        x, y, share = cutmix(white, 0 * white, np.random.default_rng(seed), 1.0)
        assert (x == 255).mean() == pytest.approx(share, abs=1e-12)
        np.testing.assert_array_equal(x, 255 - y)


def test_one_or_the_other_evenly_and_with_its_probability():
    number = 1500
    images = np.zeros((2 * number, 8, 8, 1), np.uint8)
    images[::2] = 255
    mixed = mix(
        images, np.arange(2 * number), generators(number), Augmentation(mixup=1, cutmix=1, mixing_probability=0.6)
    )
    firsts, shares = mixed['image'][::2], mixed['share'][::2]
    untouched = shares == 1
    # A box of CutMix is empty below 1/8 of the side, one share in 64; mixup leaves white below half a level.
    assert_frequency(untouched.sum(), number, 0.4 + 0.3 / 64)
    blended = (firsts == firsts[:, :1, :1]).all((1, 2, 3)) & ~untouched
    assert_frequency(blended.sum(), number, 0.3)
    np.testing.assert_array_equal(firsts[untouched], 255)


def test_nothing_is_mixed_with_both_off_or_no_probability():
    images, labels = batch(4)
    for augmentation in (Augmentation(), Augmentation(mixup=1.0, cutmix=1.0, mixing_probability=0.0)):
        mixed = mix(images, labels, generators(2), augmentation)
        np.testing.assert_array_equal(mixed['image'], images)
        np.testing.assert_array_equal(mixed['share'], np.ones(4, np.float32))
        assert {name: mixed[name].dtype.name for name in mixed} == {
            'image': 'uint8',
            'label': 'int32',
            'other_label': 'int32',
            'share': 'float32',
        }


def test_a_pair_depends_on_itself_only():
    """A host that reads some of the pairs mixes them as all hosts together do, and again the same."""
    images, labels = batch(8)
    original = images.copy()
    augmentation = Augmentation(mixup=0.4, cutmix=1.0)
    whole = mix(images, labels, generators(4), augmentation)
    np.testing.assert_array_equal(images, original)
    part = mix(images[4:6], labels[4:6], generators(4)[2:3], augmentation)
    for name, value in part.items():
        np.testing.assert_array_equal(value, whole[name][4:6])


def test_each_pair_has_a_share_of_its_own():
    images, labels = batch(8)
    assert len(set(mix(images, labels, generators(4), Augmentation(mixup=0.4))['share'].tolist())) == 4


@pytest.mark.parametrize(
    ('images', 'labels', 'number', 'error', 'message'),
    [
        (np.zeros((2, 4, 4, 1), np.float32), [0, 1], 1, TypeError, r'images must be uint8, got float32'),
        (np.zeros((3, 4, 4, 1), np.uint8), [0, 1, 2], 1, ValueError, r'even N, for pairs, got \(3, 4, 4, 1\)'),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], 1, ValueError, r'shape \(N, H, W, C\).*, got \(2, 4, 4\)'),
        (np.zeros((2, 4, 4, 1), np.uint8), [0], 1, ValueError, r'labels must have shape \(2,\).*, got \(1,\)'),
        (np.zeros((2, 4, 4, 1), np.uint8), [0.0, 1.0], 1, TypeError, r'labels must be integers, got float64'),
        (np.zeros((4, 4, 4, 1), np.uint8), range(4), 4, ValueError, r'generators must be 2, one for each pair, got 4'),
    ],
)
def test_mistakes_are_named(images, labels, number, error, message):
    with pytest.raises(error, match=message):
        mix(images, np.asarray(labels), generators(number), Augmentation(mixup=1.0))
