"""What the head has to say at every location of a batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from flax_dynconv.training.instances.assignment import RADIUS, assign, size_ranges


class Targets(NamedTuple):
    """The targets of B images at P locations.

    Attributes:
      index: (B, P) int32, the object's slot, -1 for none.
      classes: (B, P) int32, the object's class, -1 for none.
      distances: (B, P, 4) float32, to the sides of its box in units of the stride; zeros for none.

    >>> Targets._fields
    ('index', 'classes', 'distances')
    """

    index: jax.Array
    classes: jax.Array
    distances: jax.Array


def batch_targets(flat, sizes_of_interest, boxes, classes, centers, valid, radius=RADIUS):
    """`assign` for every image of a batch: `Targets`.

    `flat` are `models.condinst.FlatMaps`, of which the locations are used; boxes (B, M, 4), classes (B, M) int, centers
    (B, M, 2) and valid (B, M) are in the slots of a batch.

    >>> from types import SimpleNamespace
    >>> places, levels = jnp.array([[4.0, 4], [60, 4]]), jnp.zeros(2, jnp.int32)
    >>> flat = SimpleNamespace(locations=places, strides=jnp.full(2, 8.0), levels=levels)
    >>> boxes, centers = jnp.array([[[0.0, 0, 8, 8]]]), jnp.array([[[4.0, 4]]])
    >>> batch_targets(flat, (64,), boxes, jnp.array([[3]]), centers, jnp.array([[True]])).classes.tolist()
    [[3, -1]]
    """
    ranges = jnp.asarray(size_ranges(sizes_of_interest))[flat.levels]

    def image(boxes, centers, valid):
        return assign(flat.locations, flat.strides, ranges, boxes, centers, valid, radius)

    index, distances = jax.vmap(image)(boxes, centers, valid)
    own = jnp.take_along_axis(classes, jnp.maximum(index, 0), axis=1)
    return Targets(index, jnp.where(index < 0, -1, own), distances)
