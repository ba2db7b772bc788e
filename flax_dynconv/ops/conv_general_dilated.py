"""`lax.conv_general_dilated` that is fast on CPU for depthwise convolutions too."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops import _sharding
from flax_dynconv.ops._bilinear_primitive import bilinear_primitive
from flax_dynconv.ops._checks import is_int
from flax_dynconv.ops._conv_spec import ConvSpec
from flax_dynconv.ops.static_depthwise import lax_conv, multiply_add

# Every tap is an operation of its own in the program: beyond so many, compilation would take long.
MOST_TAPS = 128

_depthwise = bilinear_primitive('static_depthwise', multiply_add, lax_conv)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
    out_sharding=None,
) -> jax.Array:
    """`lax.conv_general_dilated`, the same function with the same arguments, errors and derivatives of every kind.

    y[b, p, c] = sum_t x[b, p + t, c // m] w[t, 0, c] is what depthwise convolutions are: feature_group_count = Cin > 1,
    any channel multiplier m, x (B, *spatial, Cin) and w (*kernel_size, 1, Cout) as in `nn.Conv`, 1 to 3 spatial
    dimensions. XLA's CPU compiler is 10 to 100 times slower at them than at a sum of shifted slices times factors,
    which they become here, gradients included, where the program is lowered for CPU; products are added in float32 or
    wider. On other platforms, and for every other convolution, this is a call of `lax.conv_general_dilated`: so also
    for integers, for kernels of more than 128 taps, for symbolic spatial sizes and where mesh axes of type Explicit
    shard anything but the batch.

    Raises what `lax.conv_general_dilated` raises.

    Example (in Flax: `nn.Conv(..., conv_general_dilated=ops.conv_general_dilated)`, the networks' default):
      >>> from flax_dynconv import ops
      >>> x, w, layout = jnp.ones((1, 8, 8, 6)), jnp.ones((3, 3, 1, 6)), ('NHWC', 'HWIO', 'NHWC')
      >>> ops.conv_general_dilated(x, w, (2, 2), 'SAME', dimension_numbers=layout, feature_group_count=6).shape
      (1, 4, 4, 6)

    Source: `jax.lax.conv_general_dilated`, whose behaviour is matched.
    """
    options = {
        'lhs_dilation': lhs_dilation,
        'rhs_dilation': rhs_dilation,
        'dimension_numbers': dimension_numbers,
        'feature_group_count': feature_group_count,
        'precision': precision,
    }
    others = {'batch_group_count': batch_group_count, 'out_sharding': out_sharding}
    if (batch_group_count, out_sharding) == (1, None) and _suits(lhs, rhs, preferred_element_type):
        spec = _depthwise_spec(lhs.shape, rhs.shape, window_strides, padding, **options)
    else:
        spec = None
    if spec is None:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, preferred_element_type=preferred_element_type, **options, **others
        )
    out_dtype = jax.dtypes.canonicalize_dtype(preferred_element_type or lhs.dtype)
    run = functools.partial(_depthwise.bind, spec=spec, out_dtype=out_dtype)
    return _sharding.over_batch(run, (lhs,), (rhs,))


def _suits(x, w, preferred) -> bool:
    """Whether the arrays are such that the form applies, whatever the convolution."""
    if not all(hasattr(array, 'shape') and hasattr(array, 'dtype') for array in (x, w)):
        return False
    # What is not so is wrong, and the original says how, or it is unusual, and the original does it.
    known = all(map(is_int, (*x.shape[1:], *w.shape))) and x.ndim == w.ndim and x.ndim in (3, 4, 5)
    if not known or x.dtype != w.dtype or not jnp.issubdtype(x.dtype, jnp.floating) or 0 in (*x.shape[1:], *w.shape):
        return False
    dtype = jnp.dtype(preferred or x.dtype)
    if not jnp.issubdtype(dtype, jnp.floating) or dtype.itemsize < x.dtype.itemsize:
        return False
    return not (is_int(x.shape[0]) and x.shape[0] == 0) and _sharding.only_batch_sharded(x, w)


def _depthwise_spec(
    x_shape, w_shape, strides, padding, *, lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, precision
) -> ConvSpec | None:
    """The spec of a depthwise convolution in channels-last layout, None for any other."""
    n, channels = len(x_shape) - 2, x_shape[-1]
    *kernel_size, group_features, out_features = w_shape
    if feature_group_count != channels or channels == 1 or group_features != 1 or out_features % channels:
        return None
    sizes = [(1,) * n if v is None else tuple(v) for v in (strides, lhs_dilation, rhs_dilation)]
    if not all(len(v) == n and all(is_int(i) and i > 0 for i in v) for v in sizes):
        return None
    strides, input_dilation, kernel_dilation = (tuple(map(int, v)) for v in sizes)
    if isinstance(padding, str):
        if padding.upper() not in ('SAME', 'SAME_LOWER', 'VALID') or set(input_dilation) != {1}:
            return None
        extent = [(k - 1) * d + 1 for k, d in zip(kernel_size, kernel_dilation, strict=True)]
        padding = lax.padtype_to_pads(x_shape[1:-1], extent, strides, padding)
    elif len(padding) != n or not all(len(pair) == 2 and all(map(is_int, pair)) for pair in padding):
        return None
    pads = tuple((int(low), int(high)) for low, high in padding)
    spec = ConvSpec(
        tuple(x_shape[1:-1]), channels, out_features, tuple(kernel_size), strides, pads, input_dilation,
        kernel_dilation, channels, precision,
    )  # fmt: skip
    if lax.conv_dimension_numbers(x_shape, w_shape, dimension_numbers) != spec.dimension_numbers():
        return None
    return spec if spec.num_taps <= MOST_TAPS and 0 not in spec.out_spatial else None
