"""Every other platform's form: `lax.conv_general_dilated` and the transposes that JAX has for it."""

import jax
import jax.numpy as jnp
from jax import lax


def apply(spec, out_dtype, x, w):
    """The convolution itself, for x (B, *spatial, Cin), w (*kernel_size, 1, Cout)."""
    return lax.conv_general_dilated(
        x,
        w,
        spec.strides,
        spec.padding,
        lhs_dilation=spec.input_dilation,
        rhs_dilation=spec.kernel_dilation,
        dimension_numbers=spec.dimension_numbers(),
        feature_group_count=spec.groups,
        precision=spec.precision,
        preferred_element_type=None if x.dtype == out_dtype else out_dtype,
    )


def adjoint_x(spec, out_dtype, y, w):
    """JAX's transpose with respect to x."""
    x = _like(y, (y.shape[0], *spec.in_spatial, spec.in_features), out_dtype)
    return jax.linear_transpose(lambda x: apply(spec, y.dtype, x, w), x)(y)[0]


def adjoint_w(spec, out_dtype, x, y):
    """JAX's transpose with respect to w."""
    w = _like(y, spec.kernel_shape, out_dtype)
    return jax.linear_transpose(lambda w: apply(spec, y.dtype, x, w), w)(y)[0]


def _like(y, shape, dtype):
    """The type of an array that varies over the mesh axes that y varies over."""
    return jax.typeof(y).update(shape=shape, dtype=jnp.dtype(dtype), weak_type=False)
