"""`per_position_conv`: signature, documentation, checks and choice of implementation."""

import functools

import jax
import jax.numpy as jnp

from flax_dynconv.ops import _bilinear, _sharding
from flax_dynconv.ops._arguments import Prepared, conv_spec, is_empty
from flax_dynconv.ops._by_platform import one_form
from flax_dynconv.ops._checks import check_floating, check_implementation, check_rank, check_shape, require
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.per_position_conv import reference
from flax_dynconv.ops.per_position_conv._spec import PositionSpec
from flax_dynconv.ops.per_position_conv.case import IMPLEMENTATIONS, PerPositionCase

_LAYOUT = '(B, *out_spatial, *kernel_size, G) or (B, *out_spatial, *kernel_size, Cin, Cout)'


def per_position_conv(
    x: jax.Array,
    kernels: jax.Array,
    *,
    strides=1,
    padding='SAME',
    padding_mode: str = 'zeros',
    input_dilation=1,
    kernel_dilation=1,
    precision=None,
    preferred_element_type=None,
    implementation: str | Autotune | None = None,
) -> jax.Array:
    """A convolution with a kernel of its own at every output position of every sample.

    y[b, p, c] = sum_t kernels[b, p, t, c // (Cin / G)] x[b, p * strides + t * kernel_dilation - low, c]

    y[b, p, o] = sum_t sum_c kernels[b, p, t, c, o] x[b, p * strides + t * kernel_dilation - low, c]   (full form)

    Args:
      x: (B, *spatial, Cin), 1 to 3 spatial dimensions, floating.
      kernels: (B, *out_spatial, *kernel_size, G), where channel c uses kernel c // (Cin / G): G = 1 shares one kernel
        between all channels, G = Cin gives each its own, any other divisor of Cin one to each group of neighbours. Or
        (B, *out_spatial, *kernel_size, Cin, Cout). The rank says which. Floating; cast to the dtype of x.
      strides, input_dilation, kernel_dilation: an int, or one int per spatial dimension.
      padding, padding_mode, precision, preferred_element_type: as in `per_sample_conv`.
      implementation: None takes the form of the least predicted time for the static shapes and, at lowering, the
        platform (`ops.explain` says which and why); 'reference', 'patches' or 'taps' means this one; an `ops.Autotune`
        what it measures.

    Returns:
      (B, *out_spatial, Cin), in the full form (B, *out_spatial, Cout). Sums are taken in float32 or wider.

    The gradients with respect to x and kernels are the library's own and are again differentiable. Forward mode
    (`jax.jvp`, `jax.jacfwd`, hence `jax.hessian`) needs `implementation='reference'`.

    Raises:
      TypeError: an operand is not floating.
      ValueError: shapes, padding or dilations do not fit, or the implementation is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax_dynconv import ops
      >>> x, kernels = jnp.ones((2, 8, 8, 6)), jnp.ones((2, 4, 4, 3, 3, 1))
      >>> ops.per_position_conv(x, kernels, strides=2).shape
      (2, 4, 4, 6)

    Reference: dynamic local filtering of DFN (arXiv:1605.09673), with kernels per channel and dilation in HDFNet
    (arXiv:2007.06227), whose codes unfold the input.
    """
    case, filling, out_dtype = prepare(
        x, kernels, strides, padding, padding_mode, input_dilation, kernel_dilation, precision, preferred_element_type,
        implementation,
    )  # fmt: skip
    x, spec = filling.around(x), case.spec
    if is_empty(case):
        return jnp.zeros((x.shape[0], *spec.out_spatial, spec.out_features), out_dtype)
    form = one_form(choosing.forms(case, implementation))
    if form is reference:
        return reference.apply(spec, out_dtype, x, kernels.astype(x.dtype))
    run = functools.partial(_bilinear.apply, form, spec, out_dtype)
    return _sharding.over_batch(run, (x, kernels.astype(x.dtype)), ())


def prepare(
    x, kernels, strides, padding, padding_mode, input_dilation, kernel_dilation, precision, preferred_element_type,
    implementation,
) -> Prepared:  # fmt: skip
    """All checks of a call, from shapes and dtypes alone."""
    check_floating('x', x)
    check_floating('kernels', kernels)
    check_rank('x', x, (3, 4, 5), '(B, *spatial, Cin)')
    n = x.ndim - 2
    check_rank('kernels', kernels, (2 * n + 2, 2 * n + 3), _LAYOUT)
    check_implementation(implementation, IMPLEMENTATIONS)
    check_shape('kernels', kernels, (x.shape[0], *kernels.shape[1:]), _LAYOUT)
    in_features, full = x.shape[-1], kernels.ndim == 2 * n + 3
    count = None if full else kernels.shape[-1]
    if not full and (count < 1 or in_features % count):
        raise ValueError(f'kernels: expected G = 1 or a divisor of the {in_features} channels of x, got {count}')
    kernel_size = kernels.shape[1 + n : 1 + 2 * n]
    # Without the full form it is a depthwise convolution to the shared checks.
    shape, groups = ((*kernel_size, *kernels.shape[-2:]), 1) if full else ((*kernel_size, 1, in_features), in_features)
    spec, filling = conv_spec(
        x.shape, shape, 'kernels', strides, padding, padding_mode, input_dilation, kernel_dilation, groups, precision
    )
    spec = PositionSpec.of(spec, count)
    if kernels.shape[1 : 1 + n] != spec.out_spatial:
        raise ValueError(
            f'kernels: expected one kernel per output position, {spec.out_spatial}, got {kernels.shape[1 : 1 + n]}'
        )
    case = PerPositionCase(spec, x.shape[0], jnp.dtype(x.dtype))
    require(case, implementation)
    return Prepared(case, filling, jnp.dtype(preferred_element_type or x.dtype))
