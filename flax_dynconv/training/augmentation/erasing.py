"""Random erasing: a rectangle of the image becomes noise."""

import math

import numpy as np

ATTEMPTS = 10
AREA = (0.02, 1 / 3)
RATIO = (0.3, 1 / 0.3)


def erased_box(height, width, generator):
    """(top, left, height, width) of a random rectangle that is shorter and narrower than the image, or None.

    area = height * width * U(0.02, 1/3), shape = exp(U(log 0.3, log 1/0.3)), sides round(sqrt(area * shape)) and
    round(sqrt(area / shape)), anywhere in the image; up to ten attempts.

    >>> erased_box(1, 1, np.random.default_rng(0)) is None
    True
    """
    for _ in range(ATTEMPTS):
        area = height * width * generator.uniform(*AREA)
        shape = math.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        down, across = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < down < height and 0 < across < width:
            top, left = generator.integers(height - down + 1), generator.integers(width - across + 1)
            return int(top), int(left), down, across
    return None


def random_erasing(image, generator, probability):
    """`image` (height, width, channels) uint8 in which, with `probability`, a rectangle of `erased_box` is noise.

    The noise is one level from 0 to 255 for each pixel and channel, all equally likely: mean 127.5, deviation 73.9.
    `image` itself is not changed.

    >>> bool(random_erasing(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(1), 1.0).any())
    True

    Source: Zhong et al., "Random erasing data augmentation" (AAAI 2020), its RE-R, whose noise this is; largest area
    and law of the shape are timm's `RandomErasing(mode='pixel')`, whose noise is normal and follows normalisation.
    """
    if generator.random() >= probability:
        return image
    box = erased_box(*image.shape[:2], generator)
    if box is None:
        return image
    top, left, height, width = box
    image = image.copy()
    noise = generator.integers(0, 256, (height, width, image.shape[2]), np.uint8)
    image[top : top + height, left : left + width] = noise
    return image
