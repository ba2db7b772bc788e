"""Bytes of an image file to a PIL image of three channels of 8 bits."""

import io

import numpy as np
from PIL import Image

from flax_dynconv.training.data.damage import damage_named


def decode(data, name):
    """The image in `data` (bytes of a file, or a PIL image) with the mode RGB; its first frame, if it has several.

    One channel is repeated to three. 16 bits become 8 as round(255 x / 65535). A palette is looked up, an alpha
    channel is left out, CMYK and other colours are converted, all by PIL; the orientation in EXIF is not applied.
    This is what torchvision's `ImageFolder` gives, but for 16 bits of one channel, which PIL would clip at 255.

    Raises `UnreadableImage` with `name` and the reason for what is damaged, cut off or no image, and for pixels
    that are neither 8 nor 16 bits. Damage that the format does not notice (a flipped bit in a JPEG) is not noticed.

    >>> decode(Image.new('L', (2, 1), 7), 'grey.png').getpixel((0, 0))
    (7, 7, 7)
    """
    in_file = isinstance(data, bytes)
    with damage_named(name, len(data) if in_file else 0):
        image = Image.open(io.BytesIO(data)) if in_file else data
        image.load()
        return _rgb(image)


def _rgb(image):
    if image.mode == 'RGB':
        return image
    if image.mode == 'F':
        raise ValueError('its pixels are floating point numbers, expected 8 or 16 bits')
    if image.mode == 'I' or image.mode.startswith('I;16'):
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f'its pixels are from {pixels.min()} to {pixels.max()}, expected 8 or 16 bits')
        image = Image.fromarray(((pixels + 128) // 257).astype(np.uint8))
    if image.mode in ('La', 'RGBa'):
        image = image.convert(image.mode.upper())
    return image.convert('RGB')
