"""The batch folded into feature groups of one convolution: the form of the PyTorch codes, and cuDNN's."""

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops.per_sample_conv import patches


def declines(spec, batch):
    """The number of groups is batch * feature_group_count: it must be known."""
    if not isinstance(batch, int):
        return f'grouped folds the batch into feature groups and needs a concrete batch size, got {batch}'
    return None


def _conv(spec, x, w):
    b, n = x.shape[0], spec.ndim
    # Group index b * g + group: the batch is the major axis of both channel axes.
    x = jnp.moveaxis(x, 0, n).reshape(1, *spec.in_spatial, b * spec.in_features)
    w = jnp.moveaxis(w, 0, n + 1).reshape(*spec.kernel_shape[:-1], b * spec.out_features)
    y = spec.static_conv(x, w, groups=b * spec.groups)
    return jnp.moveaxis(y.reshape(*spec.out_spatial, b, spec.out_features), n, 0)


def apply(spec, out_dtype, x, w):
    """y = conv of (1, *spatial, B*Cin) with B*g groups."""
    dtype = jnp.result_type(x, w, out_dtype)
    return _conv(spec, x.astype(dtype), w.astype(dtype)).astype(out_dtype)


def adjoint_x(spec, out_dtype, y, w):
    """The transposed grouped convolution."""
    dtype = jnp.result_type(y, w, out_dtype)
    x = jax.ShapeDtypeStruct((y.shape[0], *spec.in_spatial, spec.in_features), dtype)
    return jax.linear_transpose(lambda x: _conv(spec, x, w.astype(dtype)), x)(y.astype(dtype))[0].astype(out_dtype)


def adjoint_w(spec, out_dtype, x, y):
    """cuDNN has a grouped backward filter; elsewhere its XLA form wastes B times the FLOPs, and patches serve."""

    def native(x, y):
        dtype = jnp.result_type(x, y, out_dtype)
        w = jax.ShapeDtypeStruct((x.shape[0], *spec.kernel_shape), dtype)
        transposed = jax.linear_transpose(lambda w: _conv(spec, x.astype(dtype), w), w)
        return transposed(y.astype(dtype))[0].astype(out_dtype)

    def over_patches(x, y):
        return patches.adjoint_w(spec, out_dtype, x, y)

    return lax.platform_dependent(x, y, cuda=native, rocm=native, default=over_patches)
