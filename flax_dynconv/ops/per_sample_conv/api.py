"""`per_sample_conv`: signature, documentation, checks and choice of implementation."""

import functools

import jax
import jax.numpy as jnp

from flax_dynconv.ops import _bilinear, _sharding
from flax_dynconv.ops._arguments import Prepared, conv_spec, is_empty
from flax_dynconv.ops._by_platform import one_form
from flax_dynconv.ops._checks import check_floating, check_implementation, check_rank, check_shape, require
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.per_sample_conv import reference
from flax_dynconv.ops.per_sample_conv.case import IMPLEMENTATIONS, PerSampleCase


def per_sample_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides=1,
    padding='SAME',
    padding_mode: str = 'zeros',
    input_dilation=1,
    kernel_dilation=1,
    feature_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
    implementation: str | Autotune | None = None,
) -> jax.Array:
    """A convolution with a kernel of its own for every sample.

    y[b] = conv(x[b], kernel[b])

    Args:
      x: (B, *spatial, Cin), 1 to 3 spatial dimensions, floating.
      kernel: (B, *kernel_size, Cin / feature_group_count, Cout), floating; cast to the dtype of x.
      strides, input_dilation, kernel_dilation: an int, or one int per spatial dimension.
      padding: 'SAME', 'SAME_LOWER', 'VALID', 'CIRCULAR', 'REFLECT', 'CAUSAL' (1-D) as in `nn.Conv`; an int; ints or
        (low, high) pairs, one per spatial dimension.
      padding_mode: what the amounts are filled with: 'zeros', 'reflect', 'replicate' or 'circular'.
      feature_group_count: groups as in `lax.conv_general_dilated`; Cin makes it depthwise, with any multiplier.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result; that of x by default.
      implementation: None takes the form of the least predicted time for the static shapes and, at lowering, the
        platform (`ops.explain` says which and why); 'reference', 'grouped', 'patches', 'loop' or 'taps' means this one
        or NotImplementedError; an `ops.Autotune` what it measures.

    Returns:
      (B, *out_spatial, Cout).

    The gradients with respect to x and kernel are the library's own and are again differentiable. Forward mode
    (`jax.jvp`, `jax.jacfwd`, hence `jax.hessian`) needs `implementation='reference'`.

    Raises:
      TypeError: an operand is not floating.
      ValueError: shapes, padding or dilations do not fit, or the implementation is unknown.
      NotImplementedError: the named implementation cannot do the case.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax_dynconv import ops
      >>> x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((2, 3, 3, 3, 5))
      >>> ops.per_sample_conv(x, kernel, strides=2).shape
      (2, 4, 4, 5)

    Reference: the grouped-convolution and unfold forms of the PyTorch codes of CondConv (arXiv:1904.04971) and DFN
    (arXiv:1605.09673) compute this operator.
    """
    case, filling, out_dtype = prepare(
        x, kernel, strides, padding, padding_mode, input_dilation, kernel_dilation, feature_group_count, precision,
        preferred_element_type, implementation,
    )  # fmt: skip
    x, spec = filling.around(x), case.spec
    if is_empty(case):
        return jnp.zeros((x.shape[0], *spec.out_spatial, spec.out_features), out_dtype)
    form = one_form(choosing.forms(case, implementation))
    if form is reference:
        run = functools.partial(reference.apply, spec, out_dtype)
    else:
        run = functools.partial(_bilinear.apply, form, spec, out_dtype)
    return _sharding.over_batch(run, (x, kernel.astype(x.dtype)), ())


def prepare(
    x, kernel, strides, padding, padding_mode, input_dilation, kernel_dilation, feature_group_count, precision,
    preferred_element_type, implementation,
) -> Prepared:  # fmt: skip
    """All checks of a call, from shapes and dtypes alone."""
    check_floating('x', x)
    check_floating('kernel', kernel)
    check_rank('x', x, (3, 4, 5), '(B, *spatial, Cin)')
    check_rank('kernel', kernel, (x.ndim + 1,), '(B, *kernel_size, Cin/g, Cout)')
    check_implementation(implementation, IMPLEMENTATIONS)
    check_shape('kernel', kernel, (x.shape[0], *kernel.shape[1:]), '(B, *kernel_size, Cin/g, Cout)')
    spec, filling = conv_spec(
        x.shape, kernel.shape[1:], 'kernel', strides, padding, padding_mode, input_dilation, kernel_dilation,
        feature_group_count, precision,
    )  # fmt: skip
    case = PerSampleCase(spec, x.shape[0], jnp.dtype(x.dtype))
    require(case, implementation)
    return Prepared(case, filling, jnp.dtype(preferred_element_type or x.dtype))
