"""Bytes of a label image to the class of every pixel."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from flax_dynconv.training.data.source import UnreadableImage

# 8 bits, indices into a palette (not its colours), and what PIL calls 16 and 32 bits.
MODES = ('L', 'P', 'I', 'I;16', 'I;16B', 'I;16L')


def decode_labels(data, name):
    """The values of the pixels of a label image, (H, W) int32: of a palette its indices, never its colours.

    Raises `UnreadableImage`, with `name` and the reason, for what is damaged or no image; ValueError for another mode,
    such as RGB: colours say no class.

    >>> file = io.BytesIO()
    >>> Image.new('L', (2, 1), 7).save(file, 'PNG')
    >>> decode_labels(file.getvalue(), 'labels.png').tolist()
    [[7, 7]]
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except UnidentifiedImageError as error:
        raise UnreadableImage(name, f'PIL knows no image format that starts like its {len(data)} bytes') from error
    except MemoryError:
        raise  # The machine is short of memory; it says nothing of the image.
    except Exception as error:  # PIL's plugins raise almost anything on damaged files.
        raise UnreadableImage(name, f'{type(error).__name__}: {error}') from error
    check_mode(image, name)
    return np.asarray(image).astype(np.int32)


def check_mode(image, name):
    """ValueError unless the PIL image has whole numbers for pixels."""
    if image.mode not in MODES:
        raise ValueError(
            f'{name} must be a label image of the mode L, P or I, whose pixels are the numbers of classes, '
            f'got the mode {image.mode}'
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
