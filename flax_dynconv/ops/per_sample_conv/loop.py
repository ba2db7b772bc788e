"""One static convolution after another; with a batch of one simply that convolution.

The weight gradient of a convolution with batch 1 is slow in XLA's CPU compiler, so it is taken over patches.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from flax_dynconv.ops.per_sample_conv import patches

adjoint_w = patches.adjoint_w


def declines(spec, batch):
    """Nothing is declined."""
    return None


def apply(spec, out_dtype, x, w):
    """y[b] = conv(x[b], w[b]), b after b."""
    dtype = jnp.result_type(x, w, out_dtype)

    def one(x, w):
        return spec.static_conv(x[None].astype(dtype), w.astype(dtype))[0].astype(out_dtype)

    def many(x, w):
        return patches.apply(spec, out_dtype, x, w)

    return _each(one, many, x, w)


def adjoint_x(spec, out_dtype, y, w):
    """The transposed convolution of every sample, one after another."""
    dtype = jnp.result_type(y, w, out_dtype)
    shape = jax.ShapeDtypeStruct((1, *spec.in_spatial, spec.in_features), dtype)

    def one(y, w):
        transposed = jax.linear_transpose(lambda x: spec.static_conv(x, w.astype(dtype)), shape)
        return transposed(y[None].astype(dtype))[0][0].astype(out_dtype)

    def many(y, w):
        return patches.adjoint_x(spec, out_dtype, y, w)

    return _each(one, many, y, w)


def _each(one, many, *operands):
    """`one` sample after another; under `vmap` a single sample becomes a batch, which `many` takes at once.

    Without that rule a vmapped single sample would turn into a grouped convolution, slow and not shardable.
    """
    batch = operands[0].shape[0]
    if not (isinstance(batch, int) and batch == 1):
        return lax.map(lambda sample: one(*sample), operands)
    single = custom_vmap(one)

    @single.def_vmap
    def batched(size, is_batched, *arrays):
        whole = (
            a if mapped else jnp.broadcast_to(a[None], (size, *a.shape))
            for a, mapped in zip(arrays, is_batched, strict=True)
        )
        return many(*whole), True

    return single(*(o[0] for o in operands))[None]
