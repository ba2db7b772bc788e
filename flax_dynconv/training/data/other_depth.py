"""Examples whose depth is not their own: what a network has of the depth shows in what it loses."""

import numpy as np
from PIL import Image

from flax_dynconv.training.data.source import check_split

FLAT = 0.5
_SEED = 4  # Of the order in which depth is exchanged.


def with_depth_from(kind, source):
    """`source` itself for 'own', otherwise `OtherDepth`.

    >>> from flax_dynconv.training.data.scenes import Scenes
    >>> with_depth_from('flat', Scenes(8, 2, 2)).example('test', 0, None)[1].getextrema()
    (0.5, 0.5)
    """
    return source if kind == 'own' else OtherDepth(source, kind)


class OtherDepth:
    """`source` with the depth of another image of the same split ('other') or 0.5 everywhere ('flat').

    'other': the images of a split lie on one random circle that is always the same, and each has the depth of the
    next, scaled to its own size; so every depth is used once, and none with its own image. Drawn training images get
    the depth of a second drawing. ValueError for another kind, or for a split with a single image.
    """

    def __init__(self, source, kind):
        if kind not in ('other', 'flat'):
            raise ValueError(f"depth_from must be 'own', 'other' or 'flat', got {kind!r}")
        self.source, self.kind, self.splits = source, kind, source.splits
        self.name = f'{source.name} with {"the depth of others" if kind == "other" else "flat depth"}'
        self._next = {split: _circle(source.size(split), split) for split in source.splits} if kind == 'other' else {}

    def size(self, split):
        """Number of images."""
        return self.source.size(split)

    def dimensions(self, split):
        """{(height, width)} of the images."""
        return self.source.dimensions(split)

    def example(self, split, index, generator):
        """(PIL image RGB, PIL depth, mask (H, W) bool, name)."""
        check_split(split, self.splits)
        image, depth, mask, name = self.source.example(split, index, generator)
        if self.kind == 'flat':
            return image, Image.new('F', depth.size, FLAT), mask, name
        _, other, _, _ = self.source.example(split, int(self._next[split][index]), generator)
        return image, other.resize(image.size, Image.Resampling.BILINEAR), mask, name


def _circle(size, split):
    """The successor of each of `size` images."""
    if size < 2:
        raise ValueError(f"depth_from 'other' needs at least two {split} images, got {size}")
    order = np.random.default_rng((_SEED, size)).permutation(size)
    successor = np.empty(size, np.int64)
    successor[order] = np.roll(order, -1)
    return successor
