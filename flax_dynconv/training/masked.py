"""Sums and means over the examples of a batch, without what only fills it up."""

import jax.numpy as jnp


def total(each, mask):
    """Sum of `each` (B, ...) over the examples that `mask` (B,) keeps: (...); what it leaves out may be NaN.

    >>> total(jnp.array([[1.0, 2.0], [3.0, jnp.nan]]), jnp.array([1.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    kept = mask.reshape(-1, *(1,) * (each.ndim - 1)) > 0
    return jnp.sum(jnp.where(kept, each, 0), axis=0)


def mean(each, mask):
    """The same, divided by the number of examples.

    >>> float(mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1.0, 1.0, 0.0])))
    2.0
    """
    return total(each, mask) / jnp.sum(mask > 0)


def per_example(values):
    """The mean of the values (B, ...) of each example: (B,), in float32 or wider.

    >>> per_example(jnp.array([[[1, 3]], [[5, 7]]], jnp.bfloat16)).tolist()
    [2.0, 6.0]
    """
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return jnp.mean(wide.reshape(len(wide), -1), axis=1)
