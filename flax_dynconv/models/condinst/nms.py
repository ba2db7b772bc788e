"""Greedy non-maximum suppression of fixed size."""

import jax
import jax.numpy as jnp

from flax_dynconv.models.condinst.boxes import box_iou
from flax_dynconv.ops._checks import check_ints


def greedy_nms(
    boxes: jax.Array, scores: jax.Array, classes: jax.Array, valid: jax.Array, threshold: float, max_outputs: int
) -> tuple[jax.Array, jax.Array]:
    """The boxes that greedy suppression keeps, from the best to the worst: indices (D,) int32, and which of them count.

    The best box that is left is kept, and boxes of its class that overlap it by more than `threshold` are dropped, D =
    `max_outputs` times. Of equal scores the first is the best. Memory is that of K numbers: no pairs are made.

    Args:
      boxes: (K, 4) x0, y0, x1, y1, floating.
      scores: (K,) floating and finite.
      classes: (K,) integers: boxes of different classes do not suppress each other.
      valid: (K,) bool; others are neither kept nor suppress any.
      threshold: of the overlap, intersection over union.
      max_outputs: D.

    Returns:
      indices and valid (D,): where fewer boxes are kept the rest is index 0 and False.

    Raises ValueError for shapes that do not fit and for max_outputs < 1.

    >>> boxes = jnp.array([[0.0, 0, 4, 4], [0, 0, 4, 3], [0, 0, 4, 4]])
    >>> scores, classes = jnp.array([0.5, 0.9, 0.8]), jnp.array([1, 1, 2])
    >>> greedy_nms(boxes, scores, classes, jnp.ones(3, bool), 0.6, 3)
    (Array([1, 2, 0], dtype=int32), Array([ True,  True, False], dtype=bool))

    Source: equal to torchvision's `nms` within each class, cut to the best D.
    """
    check_ints(max_outputs=max_outputs)
    count = len(boxes)
    for name, array, shape in (
        ('boxes', boxes, (count, 4)),
        ('scores', scores, (count,)),
        ('classes', classes, (count,)),
        ('valid', valid, (count,)),
    ):
        if array.shape != shape or not count:
            raise ValueError(f'{name}: expected the shape {shape}, K at least 1, got {array.shape}')

    def step(left, _):
        best = jnp.argmax(jnp.where(left, scores, -jnp.inf)).astype(jnp.int32)
        # Where nothing is left, that is the first.
        kept = left[best]
        overlap = box_iou(boxes[best][None], boxes)
        same = classes == classes[best]
        dropped = (same & (overlap > threshold)) | (jnp.arange(count) == best)
        return left & ~dropped, (jnp.where(kept, best, 0), kept)

    _, kept = jax.lax.scan(step, valid, length=max_outputs)
    return kept
