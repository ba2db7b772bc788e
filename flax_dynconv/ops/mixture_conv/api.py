"""`mixture_conv`: signature, documentation, checks and choice of implementation."""

import jax
import jax.numpy as jnp

from flax_dynconv.ops import _sharding
from flax_dynconv.ops._arguments import Prepared, conv_spec, is_empty
from flax_dynconv.ops._checks import check_floating, check_implementation, check_rank, check_shape, require
from flax_dynconv.ops.choice import choosing
from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.mixture_conv import _own_gradient, reference
from flax_dynconv.ops.mixture_conv.case import IMPLEMENTATIONS, MixtureCase
from flax_dynconv.ops.mixture_conv.mixing import scale_channels


def mixture_conv(
    x: jax.Array,
    kernels: jax.Array,
    weights: jax.Array,
    *,
    input_scale: jax.Array | None = None,
    output_scale: jax.Array | None = None,
    tap_scale: jax.Array | None = None,
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
    """A convolution whose kernel is mixed from a bank for every sample, with optional scales.

    y[b] = output_scale[b] * conv(input_scale[b] * x[b], tap_scale[b] * sum_k weights[b, k] kernels[k])

    Args:
      x: (B, *spatial, Cin), 1 to 3 spatial dimensions, floating; its dtype is the computation dtype.
      kernels: (K, *kernel_size, Cin / feature_group_count, Cout), any floating dtype.
      weights: (B, K), or (B, K, Cout) for an own mixture in every output channel. Not normalised here.
      input_scale, output_scale: (B, Cin) and (B, Cout); applied to the activations, never to a kernel.
      tap_scale: (B, *kernel_size).
      strides, padding, padding_mode, input_dilation, kernel_dilation, feature_group_count, precision,
        preferred_element_type: as in `per_sample_conv`.
      implementation: None takes the form of the least predicted time for the static shapes and, at lowering, the
        platform (`ops.explain` says which and why); 'reference', 'grouped', 'patches', 'loop', 'blocks',
        'columns', 'features_in', 'features_out' or 'taps' means this one or NotImplementedError; an `ops.Autotune` what
        it measures.

    Returns:
      (B, *out_spatial, Cout). Kernels are mixed in float32 or wider, cast once to the dtype of x.

    The gradients with respect to all arrays are the library's own, save no mixed kernel, and are again differentiable.
    Forward mode (`jax.jvp`, `jax.jacfwd`, hence `jax.hessian`) needs `implementation='reference'`.

    Raises:
      TypeError: an operand is not floating.
      ValueError: shapes, padding or dilations do not fit, or the implementation is unknown.
      NotImplementedError: the named implementation cannot do the case.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax_dynconv import ops
      >>> x, kernels = jnp.ones((2, 8, 8, 3)), jnp.ones((4, 3, 3, 3, 5))
      >>> weights = jnp.full((2, 4), 0.25)
      >>> ops.mixture_conv(x, kernels, weights).shape
      (2, 8, 8, 5)

    Reference: CondConv (arXiv:1904.04971), DY-CNN (arXiv:1912.03458), DyNet (arXiv:2004.10694) and, with the scales,
    ODConv (arXiv:2209.07947), whose official code also puts the channel scales onto the activations.
    """
    case, filling, out_dtype = prepare(
        x, kernels, weights, input_scale, output_scale, tap_scale, strides, padding, padding_mode, input_dilation,
        kernel_dilation, feature_group_count, precision, preferred_element_type, implementation,
    )  # fmt: skip
    x, spec = filling.around(x), case.spec
    if is_empty(case):
        return jnp.zeros((x.shape[0], *spec.out_spatial, spec.out_features), out_dtype)
    forms = tuple(choosing.forms(case, implementation, passes) for passes in ('forward', 'backward'))

    def run(x, weights, input_scale, output_scale, tap_scale, kernels):
        if input_scale is not None:
            x = scale_channels(x, input_scale)
        if implementation == 'reference':
            y = reference.apply(spec, out_dtype, x, kernels, weights, tap_scale)
        else:
            y = _own_gradient.mixture(forms, spec, out_dtype, (x, kernels, weights, tap_scale))
        return y if output_scale is None else scale_channels(y, output_scale)

    batched = (x, weights, input_scale, output_scale, tap_scale)
    return _sharding.over_batch(run, batched, (_sharding.replicated(kernels),))


def prepare(
    x, kernels, weights, input_scale, output_scale, tap_scale, strides, padding, padding_mode, input_dilation,
    kernel_dilation, feature_group_count, precision, preferred_element_type, implementation,
) -> Prepared:  # fmt: skip
    """All checks of a call, from shapes and dtypes alone."""
    operands = {'x': x, 'kernels': kernels, 'weights': weights}
    scales = {'input_scale': input_scale, 'output_scale': output_scale, 'tap_scale': tap_scale}
    for name, array in (operands | {n: s for n, s in scales.items() if s is not None}).items():
        check_floating(name, array)
    check_rank('x', x, (3, 4, 5), '(B, *spatial, Cin)')
    check_rank('kernels', kernels, (x.ndim + 1,), '(K, *kernel_size, Cin/g, Cout)')
    check_rank('weights', weights, (2, 3), '(B, K) or (B, K, Cout)')
    check_implementation(implementation, IMPLEMENTATIONS)
    batch, num_kernels, per_output = x.shape[0], kernels.shape[0], weights.ndim == 3
    if num_kernels < 1:
        raise ValueError(f'kernels: expected at least one kernel, got shape {kernels.shape}')
    expected = (batch, num_kernels, kernels.shape[-1])[: weights.ndim]
    check_shape('weights', weights, expected, '(B, K, Cout)' if per_output else '(B, K)')
    shapes = {
        'input_scale': ((batch, x.shape[-1]), '(B, Cin)'),
        'output_scale': ((batch, kernels.shape[-1]), '(B, Cout)'),
        'tap_scale': ((batch, *kernels.shape[1:-2]), '(B, *kernel_size)'),
    }
    for name, (shape, layout) in shapes.items():
        if scales[name] is not None:
            check_shape(name, scales[name], shape, layout)
    spec, filling = conv_spec(
        x.shape, kernels.shape[1:], 'kernels', strides, padding, padding_mode, input_dilation, kernel_dilation,
        feature_group_count, precision,
    )  # fmt: skip
    case = MixtureCase(spec, batch, jnp.dtype(x.dtype), num_kernels, per_output, tap_scale is not None)
    require(case, implementation)
    return Prepared(case, filling, jnp.dtype(preferred_element_type or x.dtype))
