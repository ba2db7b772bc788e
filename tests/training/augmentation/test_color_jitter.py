"""Colour jitter against the formula in numpy; the law of its factors and of their order."""

import itertools

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.augmentation import color_jitter as module
from flax_dynconv.training.augmentation.color_jitter import color_jitter
from tests.training.augmentation.laws import assert_follows, assert_frequency, levels, noise, uniform


def luminance(x):
    return np.floor(x @ [0.299, 0.587, 0.114] + 0.5)[..., None] if x.shape[-1] == 3 else x


def blended(x, which, factor):
    if which == 'brightness':
        grey = 0.0
    elif which == 'contrast':
        grey = np.floor(luminance(x).mean() + 0.5)
    else:
        grey = luminance(x)
    return np.trunc(np.clip(grey + factor * (x - grey), 0, 255))


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('strength', [0.4, 1.0])
def test_formula(strength, mode):
    """The factors are the generator's first three numbers, the order its next."""
    names = ('brightness', 'contrast', 'saturation')
    for seed in range(6):
        image = noise(9, 7, mode, seed)
        generator = np.random.default_rng(seed)
        factors = generator.uniform(1 - strength, 1 + strength, 3)
        expected = levels(image).astype(np.float64)
        for which in generator.permutation(3):
            expected = blended(expected, names[which], factors[which])
        result = levels(color_jitter(image, np.random.default_rng(seed), strength))
        # PIL's luminance has 16 bits and its product float32: a level at the edge may fall to the other side, and
        # what follows multiplies that by up to two, twice.
        assert np.abs(result - expected).max() <= 4
        assert np.mean(result != expected) < 0.05


@pytest.mark.parametrize(('strength', 'low', 'high'), [(0.4, 0.6, 1.4), (1.0, 0.0, 2.0)])
def test_law_of_the_factors(strength, low, high):
    """An even grey has no contrast and no saturation: what is left is the brightness."""
    generator = np.random.default_rng(0)
    image = Image.new('L', (1, 1), 125)
    samples = np.array([color_jitter(image, generator, strength).getpixel((0, 0)) for _ in range(2000)])
    assert samples.min() >= np.floor(125 * low) and samples.max() <= 125 * high
    # Levels are truncated: noise below a level makes the law continuous again.
    spread = (samples + np.random.default_rng(1).random(2000)) / 125
    assert_follows(spread, uniform(low, high))


def test_all_orders_are_equally_likely(monkeypatch):
    order = []

    def recorder(name):
        class Enhancer:
            def __init__(self, image):
                self.image = image

            def enhance(self, factor):
                order.append(name)
                return self.image

        return Enhancer

    monkeypatch.setattr(module, '_ENHANCERS', tuple(map(recorder, 'bcs')))
    generator, image = np.random.default_rng(0), noise(1, 1)
    for _ in range(1200):
        color_jitter(image, generator, 0.1)
    orders = [''.join(order[i : i + 3]) for i in range(0, len(order), 3)]
    for permutation in itertools.permutations('bcs'):
        assert_frequency(orders.count(''.join(permutation)), 1200, 1 / 6)


def test_no_strength_changes_nothing():
    image = noise(5, 6)
    np.testing.assert_array_equal(color_jitter(image, np.random.default_rng(0), 0.0), image)
