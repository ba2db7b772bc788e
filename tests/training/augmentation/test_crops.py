"""Random crops: the laws of size, shape and place, what is done where none fits, and the pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flax_dynconv.training.augmentation.crops import padded_crop, random_box, random_resized_crop
from tests.training.augmentation.laws import assert_follows, assert_same_levels, levels, noise, resampled, uniform

USUAL = ((0.08, 1.0), (3 / 4, 4 / 3))


def boxes(width, height, scale, ratio, number=3000):
    generator = np.random.default_rng(0)
    return np.array([random_box(width, height, scale, ratio, generator) for _ in range(number)], np.float64).T


def test_laws_of_area_shape_and_place():
    """In a large square every draw fits: the four numbers are independent and even (the shape's logarithm)."""
    left, top, width, height = boxes(10_000, 10_000, (0.1, 0.5), (1 / 2, 3 / 2))
    area, shape = width * height / 1e8, np.log(width / height)
    across, down = left / (10_000 - width), top / (10_000 - height)
    assert_follows(area, uniform(0.1, 0.5))
    assert_follows(shape, uniform(math.log(1 / 2), math.log(3 / 2)))
    assert_follows(across, uniform(0, 1))
    assert_follows(down, uniform(0, 1))
    correlations = np.corrcoef([area, shape, across, down])[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(3000)


def test_every_place_is_equally_likely_to_the_last_row_and_column():
    """A quarter of 6 x 8 pixels has the sides 4 and 3, and five times four places."""
    left, top, width, height = boxes(8, 6, (0.25, 0.25), (4 / 3, 4 / 3))
    assert (width == 4).all() and (height == 3).all()
    counts = np.bincount((left * 4 + top).astype(int), minlength=20)
    # Chi-squared with 19 degrees of freedom: mean 19, standard deviation 6.2.
    assert len(counts) == 20 and ((counts - 150) ** 2 / 150).sum() < 19 + 4 * 6.2


def test_a_draw_that_does_not_fit_is_made_again():
    """Mean area and mean shape of accepted draws, for a photograph, against a rejection of 400,000 draws at once."""
    rng = np.random.default_rng(1)
    area = rng.uniform(*USUAL[0], 400_000)
    shape = np.exp(rng.uniform(*np.log(USUAL[1]), 400_000))
    fits = (np.sqrt(area * 375 * 500 * shape) <= 500.5) & (np.sqrt(area * 375 * 500 / shape) <= 375.5)
    assert fits.mean() < 0.9
    _, _, width, height = boxes(500, 375, *USUAL)
    for got, expected in ((width * height / (375 * 500), area[fits]), (np.log(width / height), np.log(shape[fits]))):
        assert abs(got.mean() - expected.mean()) < 4 * expected.std() / math.sqrt(len(got))
        assert abs(got.std() - expected.std()) < 0.05 * expected.std()


@pytest.mark.parametrize(
    ('width', 'height', 'scale', 'ratio', 'expected'),
    [
        # Too wide: the whole height, and 4/3 of it in the middle.
        (1000, 30, (1.0, 1.0), (3 / 4, 4 / 3), (480, 0, 40, 30)),
        # Too tall: the whole width.
        (30, 1001, (1.0, 1.0), (3 / 4, 4 / 3), (0, 480, 30, 40)),
        # The shape is allowed, but no draw fits: all of it.
        (40, 40, (1.0, 1.0), (1 / 2, 1 / 2 + 1e-9), (10, 0, 20, 40)),
        (1, 1, (0.08, 0.1), (3 / 4, 4 / 3), (0, 0, 1, 1)),
        # round(1 / 3) is no pixel.
        (1, 10, (1.0, 1.0), (3.0, 4.0), (0, 4, 1, 1)),
    ],
)
def test_central_part_where_nothing_fits(width, height, scale, ratio, expected):
    for seed in range(5):
        assert random_box(width, height, scale, ratio, np.random.default_rng(seed)) == expected


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)).map(sorted),
    st.integers(0, 2**32),
)
def test_a_box_is_in_the_image_and_not_empty(width, height, scale, ratio, seed):
    left, top, across, down = random_box(width, height, scale, ratio, np.random.default_rng(seed))
    assert across >= 1 and down >= 1 and left >= 0 and top >= 0
    assert left + across <= width and top + down <= height


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_the_part_is_scaled_without_what_is_around_it(interpolation, mode):
    image = noise(40, 50, mode)
    for seed in range(4):
        left, top, width, height = random_box(50, 40, *USUAL, np.random.default_rng(seed))
        expected = resampled(levels(image)[top : top + height, left : left + width], 12, 12, interpolation)
        result = random_resized_crop(image, np.random.default_rng(seed), 12, *USUAL, interpolation)
        assert result.size == (12, 12) and result.mode == mode
        assert_same_levels(result, expected)


def test_a_padded_crop_is_a_window_on_the_image_in_black():
    image = noise(6, 5)
    black = np.pad(levels(image), ((2, 2), (2, 2), (0, 0)))
    windows = {black[i : i + 6, j : j + 5].tobytes(): (i, j) for i in range(5) for j in range(5)}
    generator = np.random.default_rng(0)
    counts = np.zeros((5, 5))
    for _ in range(2500):
        counts[windows[levels(padded_crop(image, generator, 2)).tobytes()]] += 1
    # Chi-squared with 24 degrees of freedom: mean 24, standard deviation 6.9.
    assert ((counts - 100) ** 2 / 100).sum() < 24 + 4 * 6.9


def test_a_margin_of_nothing_changes_nothing():
    image = noise(6, 5, 'L')
    np.testing.assert_array_equal(padded_crop(image, np.random.default_rng(0), 0), image)
