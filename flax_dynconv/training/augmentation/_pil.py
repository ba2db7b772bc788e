"""PIL's modules, or an error that says which extra brings them; scaling, and what all transforms ask of an image."""

import numpy as np

from flax_dynconv.training.extras import require

Image, ImageEnhance, ImageOps = (
    require(f'PIL.{name}', 'crops, scales and changes images') for name in ('Image', 'ImageEnhance', 'ImageOps')
)

FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


def check_filter(interpolation):
    """ValueError unless PIL has a filter of that name."""
    if interpolation not in FILTERS:
        raise ValueError(f'interpolation must be one of {tuple(FILTERS)}, got {interpolation!r}')


def check_sizes(**sizes):
    """ValueError unless each is a whole number of at least one pixel."""
    for name, value in sizes.items():
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f'{name} must be a whole number of pixels >= 1, got {value!r}')


def check_image(image):
    """TypeError unless it is a PIL image; ValueError unless it is one of the mode L or RGB with a pixel in it."""
    if not isinstance(image, Image.Image):
        raise TypeError(f'image must be a PIL image, got {type(image).__name__}')
    if image.mode not in ('L', 'RGB') or not min(image.size):
        raise ValueError(
            f"image must have mode 'L' or 'RGB' and at least one pixel, got mode {image.mode!r}, "
            f'{image.width} x {image.height} pixels'
        )


def scaled(image, width, height, interpolation):
    """PIL `image` with `width` x `height` pixels: scaled along the width, then along the height, each to whole levels.

    In two calls, because the order decides where bicubic is clipped, and PIL's own differs between its versions.

    >>> scaled(Image.new('L', (3, 2)), 6, 5, 'bicubic').size
    (6, 5)
    """
    return image.resize((width, image.height), FILTERS[interpolation]).resize((width, height), FILTERS[interpolation])


def pixels(image):
    """The image as an array (height, width, channels) of uint8 that may be written to.

    >>> pixels(Image.new('L', (3, 2), 7)).shape
    (2, 3, 1)
    """
    return np.array(image).reshape(image.height, image.width, -1)
