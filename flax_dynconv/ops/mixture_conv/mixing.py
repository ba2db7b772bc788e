"""Mixing a bank of kernels: one matrix product in float32 or wider, never a (B, K, kernel) intermediate."""

import functools

import jax
import jax.numpy as jnp
from jax import lax


def mix(kernels, weights, tap_scale, dtype):
    """w[b] = tap_scale[b] sum_k weights[b, k] kernels[k]: (B, *kernel_size, Cin/g, Cout), cast once to `dtype`.

    The product runs at full precision: on accelerators the default would round its float32 operands to bfloat16.
    """
    acc = jnp.promote_types(dtype, jnp.float32)
    kernels, weights = kernels.astype(acc), weights.astype(acc)
    num_kernels, *shape = kernels.shape
    batch, out_features = weights.shape[0], shape[-1]
    if weights.ndim == 3:
        bank = kernels.reshape(num_kernels, -1, out_features)
        mixed = jnp.einsum('bko,kpo->bpo', weights, bank, precision=lax.Precision.HIGHEST)
    else:
        mixed = jnp.dot(weights, kernels.reshape(num_kernels, -1), precision=lax.Precision.HIGHEST)
    mixed = mixed.reshape(batch, *shape)
    if tap_scale is not None:
        mixed = mixed * tap_scale.astype(acc).reshape(*tap_scale.shape, 1, 1)
    return mixed.astype(dtype)


def mix_by_sums(kernels, weights, tap_scale, dtype):
    """`mix` for weights (B, K, Cout) kernel by kernel, for passes that nobody differentiates.

    One elementwise pass over the bank as it lies, where the product per output channel transposes it first; but XLA's
    CPU compiler makes a gradient of it that is 20 times slower than that of the product.
    """
    acc = jnp.promote_types(dtype, jnp.float32)
    spread = (weights.shape[0], *(1,) * (kernels.ndim - 2), kernels.shape[-1])
    terms = (weights[:, k].astype(acc).reshape(spread) * kernels[k].astype(acc)[None] for k in range(len(kernels)))
    mixed = functools.reduce(jnp.add, terms)
    if tap_scale is not None:
        mixed = mixed * tap_scale.astype(acc).reshape(*tap_scale.shape, 1, 1)
    return mixed.astype(dtype)


def scale_channels(x: jax.Array, scale: jax.Array) -> jax.Array:
    """x times one factor per sample and channel, multiplied in float32 or wider, in the dtype of x."""
    acc = jnp.promote_types(x.dtype, jnp.float32)
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    return (x.astype(acc) * scale.astype(acc).reshape(shape)).astype(x.dtype)


def scale_samples(x: jax.Array, scale: jax.Array) -> jax.Array:
    """x times one factor per sample, multiplied in float32 or wider, in the dtype of x."""
    acc = jnp.promote_types(x.dtype, jnp.float32)
    return (x.astype(acc) * scale.astype(acc).reshape(x.shape[0], *(1,) * (x.ndim - 1))).astype(x.dtype)
