"""Bytes of a label image to the class of every pixel."""

import io

import numpy as np
from PIL import Image

from flax_dynconv.training.data.damage import damage_named

# 8 bits, indices into a palette (not its colours), and what PIL calls 16 and 32 bits.
MODES = ('L', 'P', 'I', 'I;16', 'I;16B', 'I;16L')
# Of a PNG: its first bytes, where its head has the depth of a channel and the kind of colour, and what grey is there.
_PNG, _DEPTH, _COLOUR, _GREY = b'\x89PNG\r\n\x1a\n', 24, 25, 0
# By what PIL multiplies grey of 2 and 4 bits, so that white is 255.
_SCALED = {2: 85, 4: 17}


def decode_labels(data, name):
    """The values of the pixels of a label image, (H, W) int32: of a palette its indices, never its colours.

    Grey PNGs of 2 and 4 bits have the numbers that are in the file, which PIL alone would spread over 0 to 255.

    Raises `UnreadableImage`, with `name` and the reason, for what is damaged or no image; ValueError for another mode,
    such as RGB: colours say no class.

    >>> file = io.BytesIO()
    >>> Image.new('L', (2, 1), 7).save(file, 'PNG')
    >>> decode_labels(file.getvalue(), 'labels.png').tolist()
    [[7, 7]]
    """
    with damage_named(name, len(data)):
        image = Image.open(io.BytesIO(data))
        image.load()
    check_mode(image, name)
    return np.asarray(image).astype(np.int32) // _scale(data)


def check_mode(image, name):
    """ValueError unless the PIL image has whole numbers for pixels."""
    if image.mode not in MODES:
        raise ValueError(
            f'{name} must be a label image of the mode L, P or I, whose pixels are the numbers of classes, '
            f'got the mode {image.mode}'
        )


def _scale(data):
    """By what PIL has multiplied the pixels of the file: 1, but for grey PNGs of 2 and 4 bits."""
    grey = data.startswith(_PNG) and data[_COLOUR] == _GREY
    return _SCALED.get(data[_DEPTH], 1) if grey else 1


def check_ignored(ignore_label, num_classes, reduce_zero_label, where):
    """ValueError if `ignore_label` is a class too, in the files or afterwards: it would vanish silently.

    >>> check_ignored(255, 19, False, 'here')
    """
    last = num_classes - 1 + int(reduce_zero_label)
    if ignore_label <= last:
        raise ValueError(
            f'ignore_label must be larger than the labels of the {num_classes} classes of {where}, which are up to '
            f'{last}, got {ignore_label}: this class would count nowhere'
        )


def to_classes(values, name, num_classes, ignore_label=255, reduce_zero_label=False):
    """The class of each pixel, from 0 to num_classes - 1 or `ignore_label`, from the values of a label image.

    `reduce_zero_label`: values begin at 1, and 0 is ignored. Raises ValueError that names the file for values that are
    no class.

    >>> to_classes(np.array([[0, 1, 255]]), 'labels.png', 2, reduce_zero_label=True).tolist()
    [[255, 0, 255]]
    """
    ignored = values == ignore_label
    if reduce_zero_label:
        ignored |= values == 0
        values = values - 1
    wrong = np.unique(values[~ignored & ((values < 0) | (values >= num_classes))])
    if len(wrong):
        first = 1 if reduce_zero_label else 0
        raise ValueError(
            f'{name}: labels must be from {first} to {num_classes - 1 + first}, or {ignore_label} for ignored pixels, '
            f'got {(wrong + first)[:10].tolist()}'
        )
    return np.where(ignored, np.int32(ignore_label), values).astype(np.int32)
