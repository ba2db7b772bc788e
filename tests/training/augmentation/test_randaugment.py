"""RandAugment: which operations, how often, how strong, in which direction."""

from math import erf

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.augmentation import randaugment as module
from tests.training.augmentation.laws import assert_follows, assert_frequency, noise


@pytest.fixture
def calls(monkeypatch):
    """What the operations are called with; they change nothing."""
    calls = []

    def recorder(which):
        def operation(image, level, sign, resample):
            calls.append((which, level, sign, resample))
            return image

        return operation

    monkeypatch.setattr(module, 'OPERATIONS', tuple(map(recorder, range(15))))
    return calls


def run(times, operations, magnitude, deviation, interpolation='bilinear'):
    generator, image = np.random.default_rng(0), noise(1, 1)
    for _ in range(times):
        module.randaugment(image, generator, operations, magnitude, deviation, interpolation)


def test_half_of_the_drawn_operations_evenly(calls):
    run(2000, 3, 9.0, 0.5)
    assert_frequency(len(calls), 6000, 0.5)
    which, _, signs, _ = zip(*calls, strict=True)
    for operation in range(15):
        assert_frequency(which.count(operation), len(calls), 1 / 15)
    assert_frequency(signs.count(1), len(calls), 0.5)
    assert set(signs) == {1, -1}


def normal(mean, deviation):
    return lambda x: np.array([0.5 + 0.5 * erf((v - mean) / (deviation * 2**0.5)) for v in x])


def test_levels_are_normal_and_stay_in_the_range(calls):
    run(3000, 1, 5.0, 1.0)
    assert_follows([level for _, level, _, _ in calls], normal(0.5, 0.1))
    calls.clear()
    run(3000, 1, 10.0, 0.5)
    at_end = [level for _, level, _, _ in calls]
    assert max(at_end) == 1.0
    assert_frequency(at_end.count(1.0), len(at_end), 0.5)
    calls.clear()
    run(500, 1, 0.0, 0.5)
    assert min(level for _, level, _, _ in calls) == 0.0


def test_no_deviation_is_one_level(calls):
    run(50, 2, 7.0, 0.0, 'bicubic')
    assert {level for _, level, _, _ in calls} == {0.7}
    assert {resample for *_, resample in calls} == {Image.Resampling.BICUBIC}


def test_operations_follow_one_another(monkeypatch):
    """Each works on what the one before made."""
    monkeypatch.setattr(module, 'OPERATIONS', (lambda image, *_: image.point(lambda x: x + 1),))
    seen = {
        module.randaugment(Image.new('L', (1, 1)), np.random.default_rng(seed), 4, 9.0, 0.5, 'bilinear').getpixel(
            (0, 0)
        )
        for seed in range(200)
    }
    assert seen == {0, 1, 2, 3, 4}


def test_no_operations_change_nothing():
    image = noise(5, 6)
    np.testing.assert_array_equal(module.randaugment(image, np.random.default_rng(0), 0, 9.0, 0.5, 'bilinear'), image)
