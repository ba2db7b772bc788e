"""Small pure functions of the layers: stacked initialisers, batch axes, biases."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def stacked(init: Callable[..., Any], count: int) -> Callable[..., Any]:
    """An initialiser of `count` independent draws of `init`, on a new leading axis; None stays what it is."""

    def init_stacked(key, shape, dtype):
        draws = jax.vmap(lambda k: init(k, shape, dtype))(jax.random.split(key, count))
        # An initialiser may return its array in a box with axis names (nn.with_partitioning): the new axis has none.
        boxed = isinstance(draws, nn.meta.AxisMetadata)
        return draws.add_axis(0, {nn.PARTITION_NAME: None}) if boxed else draws

    return init_stacked


def flatten_batch(array: jax.Array, batch: tuple) -> jax.Array:
    """(*batch, ...) to (B, ...). One batch axis passes untouched, so a symbolic one is never computed with."""
    if len(batch) == 1:
        return array
    return jnp.reshape(array, (math.prod(batch), *array.shape[len(batch) :]))


def restore_batch(array: jax.Array, batch: tuple) -> jax.Array:
    """(B, ...) to (*batch, ...): the inverse of `flatten_batch`."""
    return array if len(batch) == 1 else jnp.reshape(array, (*batch, *array.shape[1:]))


def add_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """y (B, *spatial, C) plus a bias (C,) or (B, C), in y's dtype."""
    if bias is None:
        return y
    lead = bias.shape[0] if bias.ndim == 2 else 1
    return y + jnp.reshape(bias.astype(y.dtype), (lead, *(1,) * (y.ndim - 2), bias.shape[-1]))
