"""Random erasing: the laws of the rectangle, of the noise, and what stays."""

import math

import numpy as np
import pytest

from flax_dynconv.training.augmentation.erasing import erased_box, random_erasing
from tests.training.augmentation.laws import assert_follows, assert_frequency, uniform


def test_laws_of_area_and_shape():
    """Against a rejection of 400,000 draws at once: a rectangle must be shorter and narrower than the image."""
    rng = np.random.default_rng(1)
    area = rng.uniform(0.02, 1 / 3, 400_000)
    shape = np.exp(rng.uniform(math.log(0.3), -math.log(0.3), 400_000))
    fits = (np.sqrt(area * 200 * 100 * shape) < 199.5) & (np.sqrt(area * 200 * 100 / shape) < 99.5)
    assert fits.mean() < 0.9
    generator = np.random.default_rng(0)
    boxes = np.array([erased_box(200, 100, generator) for _ in range(3000)], np.float64)
    top, left, height, width = boxes.T
    assert height.max() < 200 and width.max() < 100 and min(height.min(), width.min()) > 0
    for got, expected in ((height * width / 20_000, area[fits]), (np.log(height / width), np.log(shape[fits]))):
        assert abs(got.mean() - expected.mean()) < 4 * expected.std() / math.sqrt(len(got))
        assert abs(got.std() - expected.std()) < 0.05 * expected.std()
    for start, room in ((top, 200 - height), (left, 100 - width)):
        # Among the whole numbers from 0 to room: noise makes the law continuous.
        assert_follows((start + np.random.default_rng(2).random(3000)) / (room + 1), uniform(0, 1))


def test_the_last_row_and_column_are_erased_too():
    generator = np.random.default_rng(0)
    top, left, height, width = np.array([erased_box(6, 8, generator) for _ in range(500)]).T
    assert (top.min(), left.min(), (top + height).max(), (left + width).max()) == (0, 0, 6, 8)


@pytest.mark.parametrize('channels', [1, 3])
def test_one_rectangle_of_noise_and_nothing_else(channels):
    image = np.full((40, 50, channels), 99, np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(20):
        result = random_erasing(image, generator, 1.0)
        assert result.dtype == np.uint8 and (image == 99).all()
        changed = np.argwhere((result != 99).any(-1))
        top, left = changed.min(0)
        bottom, right = changed.max(0) + 1
        inside = result[top:bottom, left:right]
        # The noise itself is 99 once in 256.
        assert np.mean(inside == 99) < 0.05
        outside = result.copy()
        outside[top:bottom, left:right] = 99
        assert (outside == 99).all()
        assert 0.015 < (bottom - top) * (right - left) / 2000 < 0.36


def test_all_levels_of_the_noise_are_equally_likely():
    generator = np.random.default_rng(0)
    samples = []
    for _ in range(100):
        image = np.full((60, 60, 3), 7, np.uint8)
        result = random_erasing(image, generator, 1.0)
        rows, columns = np.nonzero((result != 7).any(-1))
        samples.append(result[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].ravel())
    counts = np.bincount(np.concatenate(samples), minlength=256)
    expected = counts.mean()
    # Chi-squared with 255 degrees of freedom: mean 255, standard deviation sqrt(510).
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 4 * math.sqrt(510)


def test_channels_have_noise_of_their_own():
    result = random_erasing(np.zeros((50, 50, 3), np.uint8), np.random.default_rng(0), 1.0)
    inside = result[(result != 0).any(-1)].astype(np.float64)
    correlations = np.corrcoef(inside.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(len(inside))


def test_frequency():
    image, generator = np.zeros((20, 20, 1), np.uint8), np.random.default_rng(0)
    assert_frequency(sum(bool(random_erasing(image, generator, 0.25).any()) for _ in range(2000)), 2000, 0.25)


@pytest.mark.parametrize('shape', [(1, 1, 3), (1, 30, 1), (30, 1, 3)])
def test_too_small_for_a_rectangle(shape):
    image = np.full(shape, 5, np.uint8)
    for seed in range(5):
        np.testing.assert_array_equal(random_erasing(image, np.random.default_rng(seed), 1.0), image)


def test_probability_of_nothing_changes_nothing():
    image = np.full((20, 20, 3), 5, np.uint8)
    for seed in range(50):
        np.testing.assert_array_equal(random_erasing(image, np.random.default_rng(seed), 0.0), image)
