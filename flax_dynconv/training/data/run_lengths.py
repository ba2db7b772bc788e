"""Masks as COCO's run lengths, compressed, by pycocotools."""

import numpy as np

from flax_dynconv.training.extras import require

_PURPOSE = "reads and writes COCO's masks"


def encode(mask):
    """{'size': [height, width], 'counts': text} of `mask` (H, W) bool, as in COCO's results json.

    >>> encode(np.array([[False, True], [False, True]]))
    {'size': [2, 2], 'counts': '22'}
    """
    found = require('pycocotools.mask', _PURPOSE).encode(np.asfortranarray(mask, np.uint8))
    return {'size': [int(side) for side in found['size']], 'counts': found['counts'].decode('ascii')}


def decode(run_lengths):
    """(H, W) bool of what `encode` gave, or of a list of counts; whose counts must add up to the size.

    >>> decode({'size': [2, 2], 'counts': [2, 2]}).tolist()
    [[False, True], [False, True]]
    """
    tools = require('pycocotools.mask', _PURPOSE)
    if isinstance(run_lengths['counts'], list):
        run_lengths = tools.frPyObjects(run_lengths, *run_lengths['size'])
    return tools.decode(run_lengths).astype(bool)


def rasterised(polygons, height, width):
    """(H, W) bool of the union of polygons [x0, y0, x1, y1, ..] in pixels, by COCO's own rule.

    >>> rasterised([[1, 0, 3, 0, 3, 2, 1, 2]], 2, 4).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0]]
    """
    tools = require('pycocotools.mask', _PURPOSE)
    return tools.decode(tools.merge(tools.frPyObjects(polygons, height, width))).astype(bool)


def numbers(counts):
    """How many pixels are off, on, off, .., column by column, of a list of them or its compressed text.

    The text has six bits in each character, five of a number, lowest first, and whether more follow; from the fourth
    number on what is stored is the difference from the number two before. Raises ValueError for what is neither.

    >>> numbers([2, 2]), numbers('22')
    ([2, 2], [2, 2])
    """
    counts = _uncompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ValueError('counts must be whole numbers >= 0, or their compressed text')
    return counts


def _uncompressed(text):
    found, value, shift = [], 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f'counts has the character {character!r}, which no compressed text has')
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError('counts ends within a number')
    return found
