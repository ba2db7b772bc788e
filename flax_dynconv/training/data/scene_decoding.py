"""Bytes of files of depth, and of masks of objects, to what they say."""

import io

import numpy as np
from PIL import Image

from flax_dynconv.training.data.damage import damage_named
from flax_dynconv.training.saliency.predictions import foreground

# Grey of 8 bits, and what PIL calls 16 bits; masks may have 1 bit too.
DEPTH_MODES = ('L', 'I', 'I;16', 'I;16B', 'I;16L')
MASK_MODES = ('1', *DEPTH_MODES)
_LARGEST = 65535


def decode_depth(data, name):
    """The depth in the bytes of a file: a PIL image of the mode L, or, of 16 bits, of the mode F with x / 65535.

    `depth_array` makes numbers from 0 to 1 of both. Raises `UnreadableImage`, with `name` and the reason, for what is
    damaged or no image; ValueError for another mode, or for numbers beyond 16 bits.

    >>> file = io.BytesIO()
    >>> Image.fromarray(np.full((1, 2), 32768, np.uint16)).save(file, 'PNG')
    >>> depth_array(decode_depth(file.getvalue(), 'depth.png')).round(4).tolist()
    [[0.5, 0.5]]
    """
    image = _loaded(data, name)
    check_depth_mode(image, name)
    if image.mode == 'L':
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > _LARGEST:
        raise ValueError(f'{name}: depth must be of 8 or 16 bits, got values from {values.min()} to {values.max()}')
    return Image.fromarray((values / _LARGEST).astype(np.float32))


def depth_array(depth):
    """Numbers (H, W) float32 from 0 to 1 of a PIL image of the mode L or F.

    >>> depth_array(Image.new('L', (1, 1), 51)).tolist()
    [[0.20000000298023224]]
    """
    values = np.asarray(depth, np.float32)
    return values / np.float32(255) if depth.mode == 'L' else values


def decode_mask(data, name):
    """The mask (H, W) bool in the bytes of a file: `foreground`, what is above half of the largest value.

    Raises as `decode_depth` does.

    >>> file = io.BytesIO()
    >>> Image.fromarray(np.array([[0, 255]], np.uint8)).save(file, 'PNG')
    >>> decode_mask(file.getvalue(), 'mask.png').tolist()
    [[False, True]]
    """
    image = _loaded(data, name)
    check_mask_mode(image, name)
    return foreground(np.asarray(image).astype(np.float64))


def check_depth_mode(image, name):
    """ValueError unless the PIL image is grey of 8 or 16 bits."""
    if image.mode not in DEPTH_MODES:
        raise ValueError(f'{name} must be depth in one channel of 8 or 16 bits, got the mode {image.mode}')


def check_mask_mode(image, name):
    """ValueError unless the PIL image is grey of 1, 8 or 16 bits."""
    if image.mode not in MASK_MODES:
        raise ValueError(f'{name} must be a grey mask, of 1, 8 or 16 bits, got the mode {image.mode}')


def _loaded(data, name):
    with damage_named(name, len(data)):
        image = Image.open(io.BytesIO(data))
        image.load()
    return image
