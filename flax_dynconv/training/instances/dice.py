"""Dice loss of masks."""

import jax.numpy as jnp

from flax_dynconv.training.losses import wide

EPSILON = 1e-5


def dice_loss(scores, masks, axes=(-2, -1)):
    """1 - 2 sum(p g) / (sum(p^2) + sum(g^2) + 1e-5), sums over `axes`; in float32 or wider.

    scores p (..., H, W) are probabilities of any floating dtype, masks g of the same shape, 0 or 1, of any dtype. The
    result has the remaining axes. 1 for an empty mask, with the gradient 0.

    Raises ValueError for arrays of different shapes.

    >>> dice_loss(jnp.array([[[1.0, 0.5]], [[0, 0]]]), jnp.array([[[1, 0]], [[0, 0]]])).round(4)
    Array([0.1111, 1.    ], dtype=float32)

    Source: Milletari et al., "V-Net" (3DV 2016); equal to AdelaiDet's `dice_coefficient`.
    """
    if scores.shape != masks.shape:
        raise ValueError(f'scores and masks must have the same shape, got {scores.shape} and {masks.shape}')
    scores = wide(scores)
    masks = masks.astype(scores.dtype)
    intersection = jnp.sum(scores * masks, axis=axes)
    return 1 - 2 * intersection / (jnp.sum(scores**2, axis=axes) + jnp.sum(masks**2, axis=axes) + EPSILON)
