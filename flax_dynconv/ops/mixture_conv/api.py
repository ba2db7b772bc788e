"""`mixture_conv`: signature, documentation, checks and choice of implementation."""

import jax
import jax.numpy as jnp

from flax_dynconv.ops import _sharding
from flax_dynconv.ops._checks import (
    check_floating,
    check_implementation,
    check_rank,
    check_shape,
)
from flax_dynconv.ops._conv_spec import ConvSpec
from flax_dynconv.ops._dispatch import known_batch_of_one, require
from flax_dynconv.ops.mixture_conv import _own_gradient, blocks, features_in, features_out, loop, patches, reference
from flax_dynconv.ops.mixture_conv.mix_kernels import MixKernels
from flax_dynconv.ops.mixture_conv.mixing import scale_channels
from flax_dynconv.ops.per_sample_conv import grouped, taps
from flax_dynconv.ops.per_sample_conv.api import is_empty, prepare

IMPLEMENTATIONS = {
    'reference': reference,
    'grouped': MixKernels(grouped),
    'patches': patches,
    'loop': loop,
    'blocks': blocks,
    'features_in': features_in,
    'features_out': features_out,
    'taps': MixKernels(taps),
}


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
    implementation: str | None = None,
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
      implementation: None chooses by the static shapes and, at lowering, by the platform; 'reference', 'grouped',
        'patches', 'loop', 'features_in', 'features_out' or 'taps' means this one or NotImplementedError.

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
    operands = {'x': x, 'kernels': kernels, 'weights': weights}
    scales = {'input_scale': input_scale, 'output_scale': output_scale, 'tap_scale': tap_scale}
    for name, array in (operands | {n: s for n, s in scales.items() if s is not None}).items():
        check_floating(name, array)
    check_rank('x', x, (3, 4, 5), '(B, *spatial, Cin)')
    check_rank('kernels', kernels, (x.ndim + 1,), '(K, *kernel_size, Cin/g, Cout)')
    check_rank('weights', weights, (2, 3), '(B, K) or (B, K, Cout)')
    check_implementation(implementation, IMPLEMENTATIONS)
    if len(kernels) < 1:
        raise ValueError(f'kernels: expected at least one kernel, got shape {kernels.shape}')
    batch, num_kernels, per_output = x.shape[0], len(kernels), weights.ndim == 3
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
    dtype = x.dtype
    x, spec = prepare(
        x, kernels.shape[1:], 'kernels', strides, padding, padding_mode, input_dilation, kernel_dilation,
        feature_group_count, precision,
    )  # fmt: skip
    out_dtype = jnp.dtype(preferred_element_type or dtype)
    case = (spec, batch, num_kernels, per_output, tap_scale is not None)
    names = {'default': implementation} if implementation else choose(*case)
    forms = tuple((platform, IMPLEMENTATIONS[name]) for platform, name in names.items())
    require(implementation, forms[0][1].declines(*case))
    if is_empty(spec, x):
        return jnp.zeros((batch, *spec.out_spatial, spec.out_features), out_dtype)

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


def choose(spec: ConvSpec, batch, num_kernels: int, per_output: bool, taps: bool) -> dict[str, str]:
    """The implementation by platform, for static shapes. None gathers a sharded batch; all take a symbolic one."""
    if spec.depthwise:
        return {'default': 'taps'}
    features = 'features_out' if per_output else 'features_in'
    if num_kernels == 1 and not taps:
        return {'default': 'features_out'}
    # On TPU per-sample kernels are 5 to 80 times a static convolution; features are exactly K times.
    tpu = 'patches' if per_output and taps else features
    if known_batch_of_one(batch):
        return {'default': 'loop'}
    cpu = 'patches'
    if spec.groups == 1 and not per_output and spec.num_taps > 1:
        cpu = 'loop' if spec.num_positions >= 100 else 'blocks'
    return {'cpu': cpu, 'tpu': tpu, 'default': 'patches'}
