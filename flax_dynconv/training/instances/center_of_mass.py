"""Centres of mass of masks: what locations are sampled around."""

import jax
import jax.numpy as jnp
import numpy as np


def center_of_mass(masks):
    """Mean x and y of the pixels of each mask (..., H, W): (..., 2) float32, x before y.

    masks are 0 or 1, of any dtype, numpy or JAX, of which the result is too. The first column is x = 0, so that a mask
    of one pixel has its index as its centre. (0, 0) for an empty mask.

    Raises ValueError for arrays of fewer than two axes.

    >>> center_of_mass(np.array([[0, 1, 1], [0, 1, 1]])).tolist()
    [1.5, 0.5]

    Source: AdelaiDet's `get_sample_region`.
    """
    if masks.ndim < 2:
        raise ValueError(f'masks must have the shape (..., H, W), got {masks.shape}')
    xp, wide = (jnp, jnp.float32) if isinstance(masks, jax.Array) else (np, np.float64)
    # Counts of columns and rows first: whole numbers, which float32 holds exactly.
    columns, rows = (xp.sum(masks, axis=axis, dtype=wide) for axis in (-2, -1))
    area = xp.maximum(xp.sum(columns, axis=-1), 1)
    return xp.stack([_moment(xp, counts) / area for counts in (columns, rows)], axis=-1).astype(np.float32)


def _moment(xp, counts):
    # No matrix product: accelerators would round its operands.
    index = xp.arange(counts.shape[-1], dtype=counts.dtype)
    return xp.sum(counts * xp.broadcast_to(index, counts.shape), axis=-1)
