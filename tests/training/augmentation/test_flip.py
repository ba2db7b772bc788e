"""Mirror images: which, and how often."""

import numpy as np
import pytest

from flax_dynconv.training.augmentation.flip import random_flip
from tests.training.augmentation.laws import assert_frequency, noise


@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_left_and_right_are_exchanged(mode):
    image = noise(3, 4, mode)
    expected = np.zeros_like(np.asarray(image))
    for x in range(4):
        expected[:, x] = np.asarray(image)[:, 3 - x]
    np.testing.assert_array_equal(random_flip(image, np.random.default_rng(0), 1.0), expected)
    np.testing.assert_array_equal(random_flip(image, np.random.default_rng(0), 0.0), image)


def test_frequency():
    image, generator = noise(1, 2, 'L'), np.random.default_rng(0)
    flipped = sum(random_flip(image, generator, 0.3).tobytes() != image.tobytes() for _ in range(2000))
    assert_frequency(flipped, 2000, 0.3)
