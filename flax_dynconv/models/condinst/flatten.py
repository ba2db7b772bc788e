"""The maps of all levels as one row of locations for each image."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from flax_dynconv.models.condinst.locations import level_locations
from flax_dynconv.models.condinst.maps import InstanceMaps


class FlatMaps(NamedTuple):
    """The P locations of all levels, finest first, row by row.

    Attributes:
      logits: (B, P, classes).
      boxes: (B, P, 4), distances in units of the stride.
      centerness: (B, P), before the sigmoid.
      parameters: (B, P, G).
      locations: (P, 2) float32, x before y, in pixels.
      strides: (P,) float32, pixels.
      scales: (P,) float32, pixels: what relative coordinates are divided by.
      levels: (P,) int32, from 0.

    >>> FlatMaps._fields[:4]
    ('logits', 'boxes', 'centerness', 'parameters')
    """

    logits: jax.Array
    boxes: jax.Array
    centerness: jax.Array
    parameters: jax.Array
    locations: jax.Array
    strides: jax.Array
    scales: jax.Array
    levels: jax.Array


def flatten_maps(maps: InstanceMaps, strides: Sequence[int], sizes_of_interest: Sequence[int]) -> FlatMaps:
    """`maps` with all levels in one axis, and where each of its entries lies.

    `strides` and `sizes_of_interest` have one entry for each level.

    Raises ValueError where they have not.

    >>> import jax.numpy as jnp
    >>> maps = InstanceMaps(*((jnp.ones((1, 2, 3, n)), jnp.ones((1, 1, 2, n))) for n in (5, 4, 1, 169)), None)
    >>> flat = flatten_maps(maps, (8, 16), (64, 128))
    >>> flat.logits.shape, flat.centerness.shape, flat.levels.tolist(), flat.scales[-1].item()
    ((1, 8, 5), (1, 8), [0, 0, 0, 0, 0, 0, 1, 1], 128.0)
    """
    for name, values in (('strides', strides), ('sizes_of_interest', sizes_of_interest)):
        if len(values) != len(maps.logits):
            raise ValueError(f'{name}: expected one for each of {len(maps.logits)} levels, got {tuple(values)}')
    sizes = [level.shape[1:3] for level in maps.logits]

    def rows(levels):
        return jnp.concatenate(
            [y.reshape(y.shape[0], h * w, y.shape[-1]) for y, (h, w) in zip(levels, sizes, strict=True)], 1
        )

    def repeated(values, dtype):
        return jnp.concatenate([jnp.full((h * w,), v, dtype) for v, (h, w) in zip(values, sizes, strict=True)])

    return FlatMaps(
        rows(maps.logits),
        rows(maps.boxes),
        rows(maps.centerness)[..., 0],
        rows(maps.parameters),
        jnp.concatenate([level_locations(h, w, s) for (h, w), s in zip(sizes, strides, strict=True)]),
        repeated(strides, jnp.float32),
        repeated(sizes_of_interest, jnp.float32),
        repeated(range(len(sizes)), jnp.int32),
    )
