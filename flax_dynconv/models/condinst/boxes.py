"""Boxes: corners out of distances, and how much boxes overlap."""

import jax
import jax.numpy as jnp


def boxes_at(locations: jax.Array, distances: jax.Array) -> jax.Array:
    """Corners x0, y0, x1, y1 of boxes from locations inside of them: (..., 4).

    locations (..., 2), x before y, and distances (..., 4) to the left, top, right and bottom side, all in pixels.

    Raises ValueError for shapes that do not fit.

    >>> boxes_at(jnp.array([4.0, 12.0]), jnp.array([1.0, 2.0, 3.0, 4.0])).tolist()
    [3.0, 10.0, 7.0, 16.0]

    Source: Tian et al., "FCOS" (ICCV 2019).
    """
    if distances.shape != (*locations.shape[:-1], 4) or locations.shape[-1] != 2:
        raise ValueError(
            'locations and distances: expected shapes (..., 2) and (..., 4), '
            f'got {locations.shape} and {distances.shape}'
        )
    return jnp.concatenate([locations - distances[..., :2], locations + distances[..., 2:]], axis=-1)


def box_area(boxes: jax.Array) -> jax.Array:
    """(x1 - x0)(y1 - y0) of boxes (..., 4): (...).

    >>> box_area(jnp.array([1.0, 1.0, 3.0, 4.0])).item()
    6.0
    """
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union of each box of a (..., 4) with each of b, whose shapes are broadcast: (...).

    Boxes are x0, y0, x1, y1; two boxes without an area have 0. All pairs are `box_iou(a[:, None], b[None])`.

    >>> a, b = jnp.array([[0.0, 0, 2, 4], [5, 5, 6, 6]]), jnp.array([[0.0, 3, 2, 4], [0, 0, 2, 2]])
    >>> box_iou(a[:, None], b[None]).tolist()
    [[0.25, 0.5], [0.0, 0.0]]
    """
    a, b = jnp.broadcast_arrays(a, b)
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    sides = jnp.maximum(high - low, 0)
    intersection = sides[..., 0] * sides[..., 1]
    union = box_area(a) + box_area(b) - intersection
    return intersection / jnp.where(union > 0, union, 1)
