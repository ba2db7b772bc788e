"""Which object each location of the feature maps has to find: FCOS's targets with centre sampling."""

import jax.numpy as jnp
import numpy as np

RADIUS = 1.5
NO_LIMIT = 1e8


def size_ranges(sizes_of_interest):
    """Smallest and largest max(l, t, r, b), in pixels, that each level is responsible for: (L, 2) float32, numpy.

    The first level has no lower limit and the last no upper one; limits in between belong to both of their levels.

    >>> size_ranges((64, 128, 256)).tolist()
    [[-1.0, 64.0], [64.0, 128.0], [128.0, 100000000.0]]

    Source: AdelaiDet's `FCOSOutputs`, whose `SIZES_OF_INTEREST` are these without the last.
    """
    limits = (-1, *sizes_of_interest[:-1], NO_LIMIT)
    return np.array([limits[:-1], limits[1:]], np.float32).T


def assign(locations, strides, ranges, boxes, centers, valid, radius=RADIUS):
    """The object of each location of one image, index (P,) int32, -1 for none; and distances (P, 4) to its sides.

    A location may have an object if it is strictly inside of its box, strictly within `radius` strides of its centre,
    across and down, and if the largest of the distances l, t, r, b to the sides of the box is in the range of its
    level, both ends included. Of several objects it has that with the box of the smallest area, of equal areas the
    first.

    Args:
      locations: (P, 2) pixels of the image, x before y.
      strides: (P,) of the locations' levels.
      ranges: (P, 2), those of `size_ranges` of the locations' levels.
      boxes: (M, 4) x0, y0, x1, y1 in pixels.
      centers: (M, 2) x, y: centres of mass of the masks, or of the boxes. They may be outside of a box.
      valid: (M,) bool, false for slots without an object.
      radius: in strides.

    Returns:
      index, and distances in float32, or wider if boxes are: l, t, r, b in units of the stride, zeros at locations
      without an object.

    AdelaiDet gives an image no targets at all if its first object has its centre at x = 0 exactly, by a test that is
    meant for images without objects. That is not repeated here.

    Raises ValueError for shapes that do not fit.

    >>> locations = jnp.array([[4.0, 4], [12, 4], [20, 4]])
    >>> box, center = jnp.array([[0.0, 0, 32, 8]]), jnp.array([[14.0, 4]])
    >>> strides, ranges = jnp.full(3, 8.0), jnp.tile(size_ranges((64, 128))[:1], (3, 1))
    >>> index, distances = assign(locations, strides, ranges, box, center, jnp.array([True]))
    >>> index.tolist(), distances[1].tolist()
    ([0, 0, 0], [1.5, 0.5, 2.5, 0.5])

    Source: Tian et al., "FCOS" (ICCV 2019) and "CondInst" (ECCV 2020), as in AdelaiDet's `FCOSOutputs`.
    """
    _check(locations, strides, ranges, boxes, centers, valid)
    dtype = jnp.promote_types(boxes.dtype, jnp.float32)
    locations, boxes, centers, strides = (a.astype(dtype) for a in (locations, boxes, centers, strides))
    points, reach = locations[:, None, :], radius * strides[:, None, None]
    low, high, middle = boxes[None, :, :2], boxes[None, :, 2:], centers[None]
    distances = jnp.concatenate([points - low, high - points], axis=-1)
    inside = (points > jnp.maximum(middle - reach, low)) & (points < jnp.minimum(middle + reach, high))
    size = jnp.max(distances, axis=-1)
    in_level = (size >= ranges[:, :1]) & (size <= ranges[:, 1:])
    possible = jnp.all(inside, axis=-1) & in_level & valid[None, :]
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = jnp.where(possible, (sides[:, 0] * sides[:, 1])[None, :], jnp.inf)
    found = jnp.any(possible, axis=1)
    best = jnp.argmin(areas, axis=1).astype(jnp.int32)
    # Selected by comparison: under a batch it stays where its image is, and fuses.
    own = (best[:, None] == jnp.arange(len(boxes))[None, :]) & found[:, None]
    distances = jnp.sum(jnp.where(own[..., None], distances, 0), axis=1) / strides[:, None]
    return jnp.where(found, best, -1), distances


def _check(locations, strides, ranges, boxes, centers, valid):
    places, slots = locations.shape[0], boxes.shape[0]
    if slots == 0:
        raise ValueError('boxes must have one slot at least, got shape (0, 4)')
    wanted = {
        'locations': (locations, (places, 2)),
        'strides': (strides, (places,)),
        'ranges': (ranges, (places, 2)),
        'boxes': (boxes, (slots, 4)),
        'centers': (centers, (slots, 2)),
        'valid': (valid, (slots,)),
    }
    for name, (array, shape) in wanted.items():
        if array.shape != shape:
            raise ValueError(f'{name} must have the shape {shape}, got {array.shape}')
