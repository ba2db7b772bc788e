"""Masks of COCO's annotations, made when they are asked for; what they are refused for."""

import dataclasses
import math

from flax_dynconv.training.data import run_lengths
from flax_dynconv.training.data.instances import Bitmap


@dataclasses.dataclass(frozen=True)
class Polygons:
    """The outline of an object as `parts` [x0, y0, x1, y1, ..] in pixels of an image of `size` (height, width).

    Scaled as polygons are, and then filled by COCO's own rule: as detectron2 does.

    >>> Polygons([[1, 0, 3, 0, 3, 1, 1, 1]], (2, 4)).at(2, 8).astype(int).tolist()
    [[0, 0, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]
    """

    parts: list
    size: tuple[int, int]

    def at(self, height, width):
        """The mask of the image scaled to that size."""
        factors = width / self.size[1], height / self.size[0]
        scaled = [[value * factors[place % 2] for place, value in enumerate(part)] for part in self.parts]
        return run_lengths.rasterised(scaled, height, width)


@dataclasses.dataclass(frozen=True)
class RunLengths:
    """The outline of an object as COCO's run lengths; scaled by the nearest pixel."""

    counts: dict

    @property
    def size(self):
        """(height, width)."""
        return tuple(self.counts['size'])

    def at(self, height, width):
        """The mask of the image scaled to that size."""
        return Bitmap(run_lengths.decode(self.counts)).at(height, width)


def outline(segmentation, size):
    """`Polygons` but those without an area, or `RunLengths`, of what `without_extent` has let pass; None for nothing.

    >>> outline([[0, 0, 4, 4]], (8, 8)) is None
    True
    """
    if isinstance(segmentation, dict):
        return RunLengths(segmentation) if any(run_lengths.numbers(segmentation['counts'])[1::2]) else None
    parts = [part for part in segmentation if not on_a_line(part)]
    return Polygons(parts, size) if parts else None


def without_extent(segmentation, size):
    """What of a segmentation has no area, in words, '' for nothing.

    Raises ValueError unless these are polygons or run lengths of an image of `size` (height, width).

    >>> without_extent([[0, 0, 4, 0, 4, 4]], (8, 8)), without_extent([], (8, 8))
    ('', 'a polygon must have three points that are not on a line, got no polygon')
    """
    if isinstance(segmentation, dict):
        _check_run_lengths(segmentation, size)
        return '' if outline(segmentation, size) else 'a mask must have a pixel, got run lengths of none'
    if not isinstance(segmentation, list):
        kind = type(segmentation).__name__
        raise ValueError(f'segmentation must be a list of polygons or an object with size and counts, got {kind}')
    for part in segmentation:
        _check_polygon(part, size)
    degenerate = [part for part in segmentation if on_a_line(part)]
    if segmentation and not degenerate:
        return ''
    points = degenerate[0] if degenerate else 'no polygon'
    return f'a polygon must have three points that are not on a line, got {points}'


def on_a_line(polygon):
    """Whether all points [x0, y0, x1, y1, ..] are on one line, so that there is no area.

    >>> on_a_line([0, 0, 1, 1, 2, 2]), on_a_line([0, 0, 4, 4]), on_a_line([0, 0, 4, 0, 4, 4])
    (True, True, False)
    """
    across = down = 0
    # Mostly the third point decides: the others are not looked at.
    for place in range(2, len(polygon), 2):
        x, y = polygon[place] - polygon[0], polygon[place + 1] - polygon[1]
        if across * y != down * x:
            return False
        if not across and not down:
            across, down = x, y
    return True


def _check_polygon(part, size):
    try:
        fine = isinstance(part, list) and len(part) % 2 == 0 and math.isfinite(sum(part))
    except TypeError:
        fine = False
    if not fine:
        raise ValueError(f'a polygon must be a list of finite numbers x, y, x, y, .., got {str(part)[:60]}')
    # pycocotools walks along the edges, pixel by pixel, wherever they lead.
    if part and (min(part) < -max(size) or max(part) > 2 * max(size)):
        raise ValueError(
            f'a polygon must be in the image of {size[1]} x {size[0]} pixels or near it, '
            f'got coordinates from {min(part)} to {max(part)}'
        )


def _check_run_lengths(segmentation, size):
    if segmentation.get('size') != list(size):
        raise ValueError(
            f'run lengths must be of the size of the image, [height, width] = {list(size)}, '
            f'got {segmentation.get("size")}'
        )
    counts = run_lengths.numbers(segmentation.get('counts'))
    if sum(counts) != size[0] * size[1]:
        raise ValueError(
            f'run lengths must add up to the {size[0] * size[1]} pixels of {size[0]} x {size[1]}, got {sum(counts)}'
        )
