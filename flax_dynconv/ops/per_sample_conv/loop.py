"""One static convolution after another; on several devices each does its own samples.

Of a convolution with batch 1 XLA's CPU compiler makes slow gradients. Where strides are one the input's is again a
convolution here, with the kernel mirrored; the rest is taken over patches, chunk by chunk of rows where kernels are
small.
"""

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._dispatch import known_batch_of_one
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
    """The mirrored convolution of every sample, one after another."""

    def together(y, w):
        return patches.adjoint_x(spec, out_dtype, y, w)

    if spec.groups > 1 or not spec.unit_strides:
        return together(y, w)
    dtype = jnp.result_type(y, w, out_dtype)

    def mirrored(y, w):
        w = jnp.swapaxes(jnp.flip(w, range(spec.ndim)), -1, -2).astype(dtype)
        x = spec.mirrored.static_conv(y[None].astype(dtype), w)
        return x[0].astype(out_dtype)

    return _each(mirrored, together, y, w)


adjoint_w = patches.adjoint_w


def adjoints(spec, x_dtype, w_dtype, x, w, y):
    """adjoint_x(y, w) and adjoint_w(x, y) at once, where they can share their patches."""
    if _rows.suits(spec, x.shape[0], x.dtype):
        dx, dw = _rows.adjoints(spec, x, w, y)
        return dx.astype(x_dtype), dw.astype(w_dtype)
    return adjoint_x(spec, x_dtype, y, w), adjoint_w(spec, w_dtype, x, y)


def _each(one, together, *operands):
    """`one` sample after another; under `vmap` a batch of samples at once."""

    def each(*operands):
        if known_batch_of_one(operands[0].shape[0]):
            return one(*(o[0] for o in operands))[None]
        return lax.map(lambda sample: one(*sample), operands)

    return per_device(each, operands, (), together)
