"""One static convolution after another; with a batch of one simply that convolution.

The weight gradient of a convolution with batch 1 is slow in XLA's CPU compiler, so it is taken over patches.
"""

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops.per_sample_conv import patches

adjoint_w = patches.adjoint_w


def declines(spec, batch):
    """Nothing is declined."""
    return None


def _conv(spec, dtype, x, w):
    return spec.static_conv(x[None].astype(dtype), w.astype(dtype))[0]


def _each(function, batch, *operands):
    if isinstance(batch, int) and batch == 1:
        return function(*(o[0] for o in operands))[None]
    return lax.map(lambda sample: function(*sample), operands)


def apply(spec, out_dtype, x, w):
    """y[b] = conv(x[b], w[b]), b after b."""
    dtype = jnp.result_type(x, w, out_dtype)
    return _each(lambda x, w: _conv(spec, dtype, x, w), x.shape[0], x, w).astype(out_dtype)


def adjoint_x(spec, out_dtype, y, w):
    """The transposed convolution of every sample, one after another."""
    dtype = jnp.result_type(y, w, out_dtype)
    shape = jax.ShapeDtypeStruct((*spec.in_spatial, spec.in_features), dtype)

    def transposed(y, w):
        return jax.linear_transpose(lambda x: _conv(spec, dtype, x, w), shape)(y.astype(dtype))[0]

    return _each(transposed, y.shape[0], y, w).astype(out_dtype)
