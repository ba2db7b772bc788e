"""Mirror images."""

from flax_dynconv.training.augmentation._pil import Image


def random_flip(image, generator, probability):
    """The PIL `image`, with `probability` its left and right exchanged.

    >>> import numpy as np
    >>> random_flip(Image.linear_gradient('L').rotate(90), np.random.default_rng(0), 1.0).getpixel((0, 0))
    255
    """
    if generator.random() < probability:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image
