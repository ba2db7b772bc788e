"""The geometry of an evaluation against a float64 loop, against `models.preprocess`, and its limits."""

import pickle

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.models import Preprocessing, preprocess
from flax_dynconv.training.augmentation import evaluation, evaluation_transform
from tests.training.augmentation.laws import assert_same_levels, noise, resampled

# height, width, size, resize, and by hand: new height, new width, top, left
GEOMETRY = [
    (37, 50, 24, 28, 28, 37, 2, 6),  # 28 * 50 / 37 = 37.8; (37 - 24) / 2 = 6.5 to even
    (51, 37, 24, 28, 38, 28, 7, 2),  # 28 * 51 / 37 = 38.6
    (41, 30, 25, 32, 43, 32, 9, 4),  # 3.5 to even
    (32, 32, 32, 32, 32, 32, 0, 0),
    (10, 7, 24, 28, 40, 28, 8, 2),  # smaller than the crop
    (1, 1, 5, 8, 8, 8, 2, 2),  # 1.5 to even
]


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('geometry', GEOMETRY)
def test_shorter_side_then_centre(geometry, interpolation, mode):
    height, width, size, resize, new_height, new_width, top, left = geometry
    image = noise(height, width, mode)
    result = evaluation_transform(size, resize, interpolation)(image)
    assert result.shape == (size, size, len(mode)) and result.dtype == np.uint8
    expected = resampled(image, new_height, new_width, interpolation)[top : top + size, left : left + size]
    assert_same_levels(result, expected)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize(('height', 'width'), [(60, 80), (150, 97), (20, 33)])
def test_the_same_as_the_networks_preprocessing(height, width, interpolation):
    image = noise(height, width)
    facts = Preprocessing(40, 45, interpolation, (0.0,) * 3, (1.0,) * 3, 'test')
    expected = np.rint(255 * np.asarray(preprocess(np.asarray(image), facts)))
    assert_same_levels(evaluation_transform(40, 45, interpolation)(image), expected)


def test_an_image_of_the_right_size_is_unchanged():
    image = noise(16, 16)
    np.testing.assert_array_equal(evaluation_transform(16, 16, 'bicubic')(image), image)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize(('height', 'width'), [(6, 150), (200, 11), (40, 41)])
def test_only_the_wanted_part_of_a_long_image_is_scaled(monkeypatch, height, width, interpolation):
    image = noise(height, width)
    monkeypatch.setattr(evaluation, '_LONG', np.inf)
    whole = evaluation_transform(24, 28, interpolation)(image)
    monkeypatch.setattr(evaluation, '_LONG', 0)
    assert_same_levels(evaluation_transform(24, 28, interpolation)(image), whole)


@pytest.mark.parametrize('size', [(100_000, 1), (1, 100_000)])
def test_a_line_takes_no_more_memory_than_it_must(size):
    """Scaled as a whole it would have 256 x 25,600,000 pixels."""
    result = evaluation_transform(224, 256, 'bilinear')(Image.new('L', size, 7))
    assert result.shape == (224, 224, 1)
    assert (result == 7).all()


def test_it_can_be_pickled():
    transform = evaluation_transform(8, 9, 'bicubic')
    image = noise(12, 15)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transform))(image), transform(image))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((0, 8, 'bilinear'), r'size must be a whole number of pixels >= 1, got 0'),
        ((8, 8.5, 'bilinear'), r'resize must be a whole number of pixels >= 1, got 8\.5'),
        ((9, 8, 'bilinear'), r'size must be at most resize = 8, got 9'),
        ((8, 8, 'nearest'), r"interpolation must be one of \('bilinear', 'bicubic'\), got 'nearest'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluation_transform(*arguments)


def test_other_images_are_refused():
    transform = evaluation_transform(8, 9, 'bilinear')
    with pytest.raises(TypeError, match='image must be a PIL image, got ndarray'):
        transform(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"mode 'L' or 'RGB' and at least one pixel, got mode 'RGBA', 8 x 7 pixels"):
        transform(Image.new('RGBA', (8, 7)))
    with pytest.raises(ValueError, match=r"at least one pixel, got mode 'L', 0 x 7 pixels"):
        transform(Image.new('L', (0, 7)))
