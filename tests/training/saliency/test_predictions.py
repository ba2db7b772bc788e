"""From probabilities to what is judged: every step by hand, and what is refused."""

import numpy as np
import pytest

from flax_dynconv.training.saliency.predictions import checked, foreground, judged, normalised, quantised, resized


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64'])
def test_quantisation_rounds_down_and_keeps_every_level(dtype):
    levels = np.arange(256)
    assert quantised((levels[:-1] + 0.5).astype(dtype) / np.array(255, dtype))[200] == 200
    above = np.minimum((levels + 0.25) / 255, 1).astype(dtype)
    if dtype != 'float16':  # which has not that many levels near 1
        np.testing.assert_array_equal(quantised(above), levels)
    assert quantised(np.array([0.0, 0.999, 1.0], dtype)).tolist() == [0, 254, 255]


def test_quantised_whole_numbers():
    assert quantised(np.array([0, 1])).tolist() == [0, 255]


@pytest.mark.parametrize('size', [(7, 5), (3, 11), (14, 10), (1, 1)])
def test_resizing_takes_the_nearest_pixel(size):
    image = np.random.default_rng(0).integers(0, 256, (7, 5)).astype(np.uint8)
    found = resized(image, size)
    for i, j in np.ndindex(size):
        assert found[i, j] == image[(2 * i + 1) * 7 // (2 * size[0]), (2 * j + 1) * 5 // (2 * size[1])]
    assert found.shape == size


def test_normalisation():
    np.testing.assert_array_equal(normalised(np.array([[50, 100], [75, 50]], np.uint8)), [[0, 1], [0.5, 0]])
    np.testing.assert_array_equal(normalised(np.full((2, 3), 51, np.uint8)), np.full((2, 3), 0.2))
    assert not normalised(np.zeros((2, 2), np.uint8)).any()


def test_foreground_is_above_half_of_the_largest_value():
    np.testing.assert_array_equal(foreground([[0, 127, 128, 255]]), [[False, False, True, True]])
    np.testing.assert_array_equal(foreground(np.array([[0, 1]], np.uint8)), [[False, True]])
    np.testing.assert_array_equal(foreground([[0, 2, 3, 4]]), [[False, False, True, True]])
    assert not foreground(np.zeros((2, 2))).any()


def test_judged_is_all_of_it():
    """0.1 and 0.5 are 25 and 127 of 255; then rows of two and columns of three pixels."""
    found = judged(np.array([[0.1, 0.5], [0.1, 0.3]], np.float32), (4, 6))
    expected = np.repeat(np.repeat([[0, 1], [0, (76 - 25) / (127 - 25)]], 2, axis=0), 3, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'probabilities must be from 0 to 1, got values from -0.5 to 0.5'):
        quantised(np.array([-0.5, 0.5]))
    with pytest.raises(ValueError, match=r'probabilities must be from 0 to 1, got values from nan to nan'):
        quantised(np.array([0.5, np.nan]))
    with pytest.raises(ValueError, match=r'same shape \(H, W\), got \(2, 3\) and \(3, 2\)'):
        checked(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r'same shape \(H, W\), got \(1, 2, 3\) and \(1, 2, 3\)'):
        checked(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match=r'same shape \(H, W\), got \(0, 3\)'):
        checked(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r'predicted must be from 0 to 1, got values from 0.0 to 1.5'):
        checked(np.array([[0, 1.5]]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r'mask must be 0 or 1, got values from 0 to 255'):
        checked(np.zeros((1, 2)), np.array([[0, 255]]))
