"""One static convolution after another; on several devices each does its own samples.

The weight gradient of a convolution with batch 1 is slow in XLA's CPU compiler, so it is taken over patches; the input's
is again a convolution, with the kernel mirrored, where strides are one.
"""

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import per_device
from flax_dynconv.ops.per_sample_conv import _rows, patches


def declines(spec, batch):
    """Nothing is declined."""
    return None


def one(spec, out_dtype, x, w):
    """One sample (*spatial, Cin) by one kernel (*kernel_size, Cin/g, Cout)."""
    # A wider result is summed in its own dtype, not rounded to that of x first.
    dtype = jnp.result_type(x, w, out_dtype)
    return spec.static_conv(x[None].astype(dtype), w.astype(dtype))[0].astype(out_dtype)


def apply(spec, out_dtype, x, w):
    """y[b] = conv(x[b], w[b]), b after b."""
    return _each(lambda x, w: one(spec, out_dtype, x, w), lambda x, w: patches.apply(spec, out_dtype, x, w), x, w)


def adjoint_x(spec, out_dtype, y, w):
    """The transposed convolution of every sample, one after another."""
    dtype = jnp.result_type(y, w, out_dtype)
    shape = jax.ShapeDtypeStruct((1, *spec.in_spatial, spec.in_features), dtype)

    def transposed(y, w):
        pull = jax.linear_transpose(lambda x: spec.static_conv(x, w.astype(dtype)), shape)
        return pull(y[None].astype(dtype))[0][0].astype(out_dtype)

    return _each(transposed, lambda y, w: patches.adjoint_x(spec, out_dtype, y, w), y, w)


adjoint_w = patches.adjoint_w


def _each(one, together, *operands):
    """`one` sample after another; under `vmap` a batch of samples at once."""

    def each(*operands):
        if operands[0].shape[0] == 1:
            return one(*(o[0] for o in operands))[None]
        return lax.map(lambda sample: one(*sample), operands)

    return per_device(each, operands, (), together)
