"""One object of an image: its class, box and mask, and what a source of such images must say of itself."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image


class Instance(NamedTuple):
    """An object. `label` from 0; `box` (x0, y0, x1, y1) in pixels; `area` in pixels, as the data give it.

    `outline` has `size` (height, width) of the image, and `at(height, width)`: the mask (height, width) bool of the
    image after it was scaled. Of a `crowd`, several objects that are not told apart, nothing is learned.
    """

    label: int
    box: tuple[float, float, float, float]
    outline: Any
    area: float
    crowd: bool = False

    @property
    def mask(self):
        """(H, W) bool, as large as the image."""
        return self.outline.at(*self.outline.size)


@dataclasses.dataclass(frozen=True)
class Bitmap:
    """The outline of an object as `pixels` (H, W) bool; scaled by the nearest pixel.

    >>> Bitmap(np.array([[True, False]])).at(2, 4).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """

    pixels: np.ndarray

    @property
    def size(self):
        """(height, width)."""
        return self.pixels.shape

    def at(self, height, width):
        """The mask of the image scaled to that size."""
        if (height, width) == self.size:
            return self.pixels
        image = Image.fromarray(self.pixels.astype(np.uint8))
        return np.asarray(image.resize((width, height), Image.Resampling.NEAREST)).astype(bool)


class InstanceSource(Protocol):
    """Images with their objects in two splits, 'train' and 'test', numbered from 0 in an order that never changes."""

    splits: tuple[str, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]  # of each class, in COCO's json

    def size(self, split: str) -> int:
        """Number of images."""

    def dimensions(self, split: str) -> set:
        """{(height, width)} of the images: which there are."""

    def example(self, split: str, index: int, generator: Any) -> tuple[Any, list, str]:
        """(PIL image RGB, [`Instance`], name)."""

    def image_id(self, split: str, index: int) -> int:
        """The image's id in COCO's json."""

    def image_size(self, split: str, index: int) -> tuple[int, int]:
        """(height, width)."""

    def truth(self, split: str) -> dict:
        """All objects of the split, crowds too, in the form of COCO's json."""


def box_of(mask):
    """The smallest box around the pixels of `mask` (H, W) bool, as floats (x0, y0, x1, y1); ends are exclusive.

    >>> box_of(np.array([[False, False, False], [False, True, True]]))
    (1.0, 1.0, 3.0, 2.0)
    """
    columns, rows = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
