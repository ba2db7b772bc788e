"""Each operation of RandAugment against numpy, at the start, inside and at the end of its range."""

import math

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.augmentation import randaugment_operations as ops
from tests.training.augmentation.laws import levels, noise, smooth

BILINEAR = Image.Resampling.BILINEAR
LEVELS = (0.0, 0.33, 0.9, 1.0)


def pointwise(function):
    return lambda x, level, sign: np.vectorize(function, otypes=[np.int64])(x, level)


def luminance(x):
    return np.floor(x @ [0.299, 0.587, 0.114] + 0.5)[..., None] if x.shape[-1] == 3 else x


def blended(grey):
    """grey + factor (x - grey), truncated to levels, factor = 1 +- 0.9 level."""
    return lambda x, level, sign: np.trunc(np.clip(grey(x) + (1 + sign * 0.9 * level) * (x - grey(x)), 0, 255))


def smoothed(x):
    """Weight 5 for the pixel, 1 for its eight neighbours; the border as it is."""
    result = x.copy()
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            result[i, j] = np.floor((x[i - 1 : i + 2, j - 1 : j + 2].sum((0, 1)) + 4 * x[i, j]) / 13 + 0.5)
    return result


def moved(source):
    """Each pixel's centre taken from where `source(x, y, width, height, amount)` says, with bilinear weights."""

    def operation(image, level, sign):
        height, width, _ = image.shape
        result = np.full(image.shape, 128.0)
        for i in range(height):
            for j in range(width):
                x, y = source(j + 0.5, i + 0.5, width, height, sign * level)
                if 0 <= x < width and 0 <= y < height:
                    result[i, j] = bilinear(image, x - 0.5, y - 0.5)
        return result

    return operation


def bilinear(image, x, y):
    j, i = math.floor(x), math.floor(y)
    value = 0.0
    for row, across in ((i, 1 - (y - i)), (i + 1, y - i)):
        for column, along in ((j, 1 - (x - j)), (j + 1, x - j)):
            inside = np.clip((row, column), 0, np.array(image.shape[:2]) - 1)
            value = value + across * along * image[tuple(inside)]
    return value


def turned(x, y, width, height, amount):
    """A turn to the left by 30 degrees times amount comes from the right: y points down."""
    angle = math.radians(30 * amount)
    across, down = x - width / 2, y - height / 2
    return (
        width / 2 + math.cos(angle) * across - math.sin(angle) * down,
        height / 2 + math.sin(angle) * across + math.cos(angle) * down,
    )


EXPECTED = {
    'invert': pointwise(lambda x, level: 255 - x),
    'posterize': pointwise(lambda x, level: x - x % 2 ** (4 + int(4 * level))),
    'solarize': pointwise(lambda x, level: 255 - x if x >= 256 - int(256 * level) else x),
    'solarize_add': pointwise(lambda x, level: min(x + int(110 * level), 255) if x < 128 else x),
    'color': blended(luminance),
    'contrast': blended(lambda x: np.floor(luminance(x).mean() + 0.5)),
    'brightness': blended(lambda x: 0.0),
    'sharpness': blended(smoothed),
    'rotate': moved(turned),
    'shear_x': moved(lambda x, y, width, height, amount: (x + 0.3 * amount * y, y)),
    'shear_y': moved(lambda x, y, width, height, amount: (x, y + 0.3 * amount * x)),
    'translate_x': moved(lambda x, y, width, height, amount: (x + 0.45 * amount * width, y)),
    'translate_y': moved(lambda x, y, width, height, amount: (x, y + 0.45 * amount * height)),
}


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('name', EXPECTED)
def test_formula(name, mode):
    image = smooth(13, 18, mode)
    for level in LEVELS:
        for sign in (1, -1):
            result = levels(getattr(ops, name)(image, level, sign, BILINEAR))
            expected = EXPECTED[name](levels(image), level, sign)
            # PIL truncates what it interpolates and blends, from float32 sums.
            assert np.abs(result - expected).max() <= 1, (level, sign)


@pytest.mark.parametrize('name', ['rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y'])
def test_moves_reach_their_range(name):
    """At the end of the range much of the image has left, and grey has come."""
    image = Image.new('RGB', (40, 40), (255, 0, 255))
    result = levels(getattr(ops, name)(image, 1.0, 1, BILINEAR))
    assert 0.05 < np.mean((result == 128).all(-1)) < 0.5


@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_auto_contrast_stretches_each_channel(mode):
    x = 40 + levels(smooth(13, 18, mode)) // 2
    result = levels(ops.auto_contrast(as_image(x), 0.5, 1, BILINEAR))
    low, high = x.min((0, 1)), x.max((0, 1))
    assert np.abs(result - (x - low) * 255 / (high - low)).max() <= 1
    assert (result.min((0, 1)) == 0).all() and (result.max((0, 1)) == 255).all()


@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_equalize_makes_levels_equally_frequent(mode):
    """The share of pixels up to a level becomes that level / 255, to the largest share of one level; order stays."""
    x = (levels(noise(64, 64, mode)) / 255) ** 3 * 200
    x = x.astype(np.int64)
    result = levels(ops.equalize(as_image(x), 0.5, 1, BILINEAR))
    for channel in range(x.shape[-1]):
        before, after = x[..., channel].ravel(), result[..., channel].ravel()
        order = np.argsort(before, kind='stable')
        assert (np.diff(after[order]) >= 0).all()
        largest = np.bincount(before).max() / before.size
        for level in range(0, 256, 5):
            assert abs(np.mean(after <= level) - level / 255) <= largest + 2 / 255
        assert largest < 0.2


def as_image(x):
    return Image.fromarray(x.astype(np.uint8)[..., 0] if x.shape[-1] == 1 else x.astype(np.uint8))


@pytest.mark.parametrize('interpolation', [BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize('operation', ops.OPERATIONS, ids=lambda operation: operation.__name__)
def test_level_0_changes_nothing(operation, interpolation):
    """Where there is a range at all; `posterize` starts at four bits."""
    image = smooth(26, 36)
    result = operation(image, 0.0, 1, interpolation)
    if operation in (ops.auto_contrast, ops.equalize, ops.invert, ops.posterize):
        assert (levels(result) != levels(image)).any()
    else:
        np.testing.assert_array_equal(result, image)


def test_there_are_fifteen():
    assert len({operation.__name__ for operation in ops.OPERATIONS}) == 15
    assert {operation.__name__ for operation in ops.OPERATIONS} == {*EXPECTED, 'auto_contrast', 'equalize'}
