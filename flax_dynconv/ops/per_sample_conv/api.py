"""`per_sample_conv`: signature, documentation, checks and choice of implementation."""

import functools

import jax
import jax.numpy as jnp

from flax_dynconv.ops import _bilinear, _sharding
from flax_dynconv.ops._checks import (
    check_floating,
    check_groups,
    check_implementation,
    check_rank,
    check_shape,
)
from flax_dynconv.ops._conv_spec import ConvSpec, pad_input, per_dimension, resolve_padding
from flax_dynconv.ops._dispatch import known_batch_of_one, require
from flax_dynconv.ops.per_sample_conv import grouped, loop, patches, reference, taps

IMPLEMENTATIONS = {'reference': reference, 'grouped': grouped, 'patches': patches, 'loop': loop, 'taps': taps}


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
    implementation: str | None = None,
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
      implementation: None chooses by the static shapes; 'reference', 'grouped', 'patches', 'loop' or 'taps' means
        this one or NotImplementedError.

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
    check_floating('x', x)
    check_floating('kernel', kernel)
    check_rank('x', x, (3, 4, 5), '(B, *spatial, Cin)')
    check_rank('kernel', kernel, (x.ndim + 1,), '(B, *kernel_size, Cin/g, Cout)')
    check_implementation(implementation, IMPLEMENTATIONS)
    check_shape('kernel', kernel, (x.shape[0], *kernel.shape[1:]), '(B, *kernel_size, Cin/g, Cout)')
    x, spec = prepare(
        x, kernel.shape[1:], 'kernel', strides, padding, padding_mode, input_dilation, kernel_dilation,
        feature_group_count, precision,
    )  # fmt: skip
    out_dtype = jnp.dtype(preferred_element_type or x.dtype)
    form = IMPLEMENTATIONS[implementation or choose(spec, x.shape[0])]
    require(implementation, form.declines(spec, x.shape[0]))
    if is_empty(spec, x):
        return jnp.zeros((x.shape[0], *spec.out_spatial, spec.out_features), out_dtype)
    if form is reference:
        run = functools.partial(reference.apply, spec, out_dtype)
    else:
        run = functools.partial(_bilinear.apply, form, spec, out_dtype)
    return _sharding.over_batch(run, (x, kernel.astype(x.dtype)), ())


def choose(spec: ConvSpec, batch) -> str:
    """The implementation for static shapes: none of these gathers a sharded batch, and all take a symbolic one."""
    if spec.depthwise:
        return 'taps'
    return 'loop' if known_batch_of_one(batch) else 'patches'


def is_empty(spec: ConvSpec, x: jax.Array) -> bool:
    """Whether there is nothing to compute: an empty batch or output."""
    return 0 in spec.out_spatial or (isinstance(x.shape[0], int) and x.shape[0] == 0)


def prepare(
    x, kernel_shape, name, strides, padding, padding_mode, input_dilation, kernel_dilation, groups, precision
) -> tuple[jax.Array, ConvSpec]:
    """x, padded if its mode is not zeros, and the spec of the zero-padded convolution that is left."""
    n = x.ndim - 2
    *kernel_size, group_features, out_features = kernel_shape
    if min(kernel_size) < 1:
        raise ValueError(f'{name}: expected kernel_size >= 1, got {tuple(kernel_size)}')
    check_groups(x.shape[-1], group_features, out_features, groups, name)
    strides = per_dimension(strides, n, 'strides', 1)
    input_dilation = per_dimension(input_dilation, n, 'input_dilation', 1)
    kernel_dilation = per_dimension(kernel_dilation, n, 'kernel_dilation', 1)
    pads, mode = resolve_padding(
        padding, padding_mode, x.shape[1:-1], kernel_size, strides, input_dilation, kernel_dilation
    )
    x, pads = pad_input(x, pads, mode)
    spec = ConvSpec(
        in_spatial=x.shape[1:-1],
        in_features=x.shape[-1],
        out_features=out_features,
        kernel_size=tuple(kernel_size),
        strides=strides,
        padding=tuple(map(tuple, pads)),
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        groups=int(groups),
        precision=precision,
    )
    return x, spec
