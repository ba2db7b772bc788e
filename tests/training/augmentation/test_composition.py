"""The whole of a training image's way: order, shapes, determinism, and what it refuses."""

import dataclasses
import pickle

import numpy as np
import pytest

from flax_dynconv.training.augmentation import evaluation_transform, train_transform
from flax_dynconv.training.augmentation.color_jitter import color_jitter
from flax_dynconv.training.augmentation.crops import padded_crop, random_resized_crop
from flax_dynconv.training.augmentation.erasing import random_erasing
from flax_dynconv.training.augmentation.evaluation import central_crop
from flax_dynconv.training.augmentation.flip import random_flip
from flax_dynconv.training.augmentation.randaugment import randaugment
from flax_dynconv.training.settings import Augmentation
from tests.training.augmentation.laws import noise, smooth

ALL = Augmentation(crop='random-resized', flip=0.5, randaugment=3, color_jitter=0.4, erasing=0.5)


@pytest.mark.parametrize('crop', ['none', 'random-resized', 'padded'])
def test_the_order_is_that_of_the_settings(crop):
    augmentation = dataclasses.replace(ALL, crop=crop, crop_padding=3)
    transform = train_transform(augmentation, 24, 28, 'bicubic')
    for seed in range(8):
        image = smooth(40, 50, seed=seed)
        generator = np.random.default_rng(seed)
        if crop == 'random-resized':
            x = random_resized_crop(image, generator, 24, (0.08, 1.0), (3 / 4, 4 / 3), 'bicubic')
        else:
            x = central_crop(image, 24, 28, 'bicubic')
        if crop == 'padded':
            x = padded_crop(x, generator, 3)
        x = random_flip(x, generator, 0.5)
        x = randaugment(x, generator, 3, 9.0, 0.5, 'bicubic')
        x = np.asarray(color_jitter(x, generator, 0.4))
        x = random_erasing(x, generator, 0.5)
        np.testing.assert_array_equal(transform(image, np.random.default_rng(seed)), x)


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('crop', ['none', 'random-resized', 'padded'])
@pytest.mark.parametrize(('height', 'width'), [(40, 50), (5, 4), (1, 1), (1, 60), (60, 1)])
def test_every_size_becomes_the_wanted_one(height, width, crop, mode):
    """All operations run on images of one pixel and smaller than the crop too."""
    augmentation = dataclasses.replace(ALL, crop=crop, randaugment=20, erasing=1.0)
    image = noise(height, width, mode)
    for size in (1, 17):
        transform = train_transform(augmentation, size, 20, 'bilinear')
        for seed in range(3):
            result = transform(image, np.random.default_rng(seed))
            assert result.shape == (size, size, len(mode)) and result.dtype == np.uint8


def test_nothing_on_is_the_evaluation():
    image = noise(40, 50)
    transform = train_transform(Augmentation(), 24, 28, 'bicubic')
    expected = evaluation_transform(24, 28, 'bicubic')(image)
    np.testing.assert_array_equal(transform(image, np.random.default_rng(0)), expected)


def test_a_function_of_image_and_generator():
    image = noise(40, 50)
    before = image.tobytes()
    transform = train_transform(ALL, 24, 28, 'bilinear')
    results = [transform(image, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()
    assert image.tobytes() == before
    again = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(again(image, np.random.default_rng(1)), results[2])


def test_the_result_is_the_callers():
    """It may be written to, as a batch that is made in place needs."""
    for augmentation in (Augmentation(), ALL):
        assert train_transform(augmentation, 8, 8, 'bilinear')(noise(8, 8), np.random.default_rng(0)).flags.writeable


@pytest.mark.parametrize(
    ('crop', 'arguments', 'message'),
    [
        ('none', (9, 8, 'bilinear'), r'size must be at most resize = 8, got 9'),
        ('padded', (8, 0, 'bilinear'), r'resize must be a whole number of pixels >= 1, got 0'),
        ('random-resized', (0, 8, 'bilinear'), r'size must be a whole number of pixels >= 1, got 0'),
        ('random-resized', (8, 8, 'lanczos'), r"interpolation must be one of .*, got 'lanczos'"),
        ('centre', (8, 8, 'bilinear'), r"crop must be 'none', 'random-resized' or 'padded', got 'centre'"),
    ],
)
def test_mistakes_are_named(crop, arguments, message):
    with pytest.raises(ValueError, match=message):
        train_transform(Augmentation(crop=crop), *arguments)


def test_other_images_are_refused():
    transform = train_transform(ALL, 8, 8, 'bilinear')
    with pytest.raises(ValueError, match=r"image must have mode 'L' or 'RGB' .*, got mode 'P', 4 x 3 pixels"):
        transform(noise(3, 4).convert('P'), np.random.default_rng(0))
    with pytest.raises(TypeError, match='image must be a PIL image, got str'):
        transform('image.png', np.random.default_rng(0))
