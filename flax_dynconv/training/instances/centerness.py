"""Centerness: how near a location is to the middle of its box."""

import jax
import jax.numpy as jnp

from flax_dynconv.training.losses import wide


def centerness_targets(distances):
    """sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)) of distances (..., 4): (...), in float32 or wider.

    l, t, r, b are the distances to the sides of a box, > 0 for a location inside of it, in any unit. 0 where all are 0.

    Raises ValueError unless the last axis is 4.

    >>> centerness_targets(jnp.array([[2.0, 3, 2, 3], [1, 1, 4, 1], [0, 0, 0, 0]])).tolist()
    [1.0, 0.5, 0.0]

    Source: Tian et al., "FCOS" (ICCV 2019), eq. 3.
    """
    if distances.shape[-1:] != (4,):
        raise ValueError(f'distances must have the shape (..., 4), got {distances.shape}')
    left, top, right, bottom = jnp.moveaxis(wide(distances), -1, 0)
    return jnp.sqrt(_share(left, right) * _share(top, bottom))


def centerness_loss(logits, targets):
    """-(c log s + (1 - c) log(1 - s)), s = sigmoid(logits), of each logit; in float32 or wider.

    logits and targets c, from 0 to 1, have the same shape. No precision is lost at large logits.

    Raises ValueError for arrays of different shapes.

    >>> centerness_loss(jnp.zeros(2), jnp.array([1.0, 0.25])).round(4)
    Array([0.6931, 0.6931], dtype=float32)

    Source: Tian et al., "FCOS" (ICCV 2019).
    """
    if logits.shape != targets.shape:
        raise ValueError(f'logits and targets must have the same shape, got {logits.shape} and {targets.shape}')
    logits = wide(logits)
    return jax.nn.softplus(logits) - targets.astype(logits.dtype) * logits


def _share(one, other):
    largest = jnp.maximum(one, other)
    return jnp.minimum(one, other) / jnp.where(largest == 0, 1, largest)
