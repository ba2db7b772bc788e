"""What happens to a training image, in the order of the settings."""

import functools

from flax_dynconv.training.augmentation._pil import check_filter, check_image, check_sizes, pixels
from flax_dynconv.training.augmentation.color_jitter import color_jitter
from flax_dynconv.training.augmentation.crops import padded_crop, random_resized_crop
from flax_dynconv.training.augmentation.erasing import random_erasing
from flax_dynconv.training.augmentation.evaluation import central_crop, check_geometry
from flax_dynconv.training.augmentation.flip import random_flip
from flax_dynconv.training.augmentation.randaugment import randaugment


def train_transform(augmentation, size, resize, interpolation):
    """f(PIL image of the mode L or RGB, `np.random.Generator`) -> uint8 (size, size, C), C = 1 or 3. It can be pickled.

    Crop, flip, RandAugment, colour jitter and erasing by `augmentation` (`settings.Augmentation`), in this order.
    crop='none' is the geometry of an evaluation (`size` of `resize` pixels), crop='padded' shifts that,
    crop='random-resized' has no use for `resize`. `interpolation` is 'bilinear' or 'bicubic'. The result is a
    function of the image and the generator's state. f raises TypeError for what is no PIL image, ValueError for
    another mode.

    Raises ValueError for another crop, size or interpolation.

    >>> import numpy as np
    >>> from PIL import Image
    >>> from flax_dynconv.training.settings import Augmentation
    >>> transform = train_transform(Augmentation(crop='random-resized', flip=0.5), 24, 32, 'bilinear')
    >>> transform(Image.new('RGB', (50, 40)), np.random.default_rng(0)).shape
    (24, 24, 3)
    """
    if augmentation.crop == 'random-resized':
        check_sizes(size=size)
        check_filter(interpolation)
    elif augmentation.crop in ('none', 'padded'):
        check_geometry(size, resize, interpolation)
    else:
        raise ValueError(f"crop must be 'none', 'random-resized' or 'padded', got {augmentation.crop!r}")
    return functools.partial(_augment, augmentation=augmentation, size=size, resize=resize, interpolation=interpolation)


def _augment(image, generator, *, augmentation, size, resize, interpolation):
    check_image(image)
    if augmentation.crop == 'random-resized':
        law = augmentation.crop_scale, augmentation.crop_ratio
        image = random_resized_crop(image, generator, size, *law, interpolation)
    else:
        image = central_crop(image, size, resize, interpolation)
        if augmentation.crop == 'padded':
            image = padded_crop(image, generator, augmentation.crop_padding)
    image = random_flip(image, generator, augmentation.flip)
    magnitude = augmentation.randaugment_magnitude, augmentation.randaugment_deviation
    image = randaugment(image, generator, augmentation.randaugment, *magnitude, interpolation)
    image = color_jitter(image, generator, augmentation.color_jitter)
    return random_erasing(pixels(image), generator, augmentation.erasing)
