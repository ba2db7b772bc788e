"""The static arguments that all convolutions share, normalised once: a ConvSpec, and what fills the padding."""

from typing import NamedTuple

import jax

from flax_dynconv.ops._checks import check_groups
from flax_dynconv.ops._conv_spec import ConvSpec, Pads, fill, per_dimension, resolve_padding, size_after_padding


class Filling(NamedTuple):
    """What is put around x before the zero-padded convolution of the spec: amounts, and their mode."""

    pads: Pads
    mode: str

    def around(self, x: jax.Array) -> jax.Array:
        """x as the spec takes it."""
        return fill(x, self.pads, self.mode)


class Prepared(NamedTuple):
    """A checked call without its arrays: the static case, what fills the padding of x, and the dtype of the result."""

    case: object
    filling: Filling
    out_dtype: object


def conv_spec(
    x_shape, kernel_shape, name, strides, padding, padding_mode, input_dilation, kernel_dilation, groups, precision
) -> tuple[ConvSpec, Filling]:
    """The zero-padded convolution that is left after the filling; ValueError for what does not fit."""
    n = len(x_shape) - 2
    *kernel_size, group_features, out_features = kernel_shape
    if min(kernel_size) < 1:
        raise ValueError(f'{name}: expected kernel_size >= 1, got {tuple(kernel_size)}')
    check_groups(x_shape[-1], group_features, out_features, groups, name)
    strides = per_dimension(strides, n, 'strides', 1)
    input_dilation = per_dimension(input_dilation, n, 'input_dilation', 1)
    kernel_dilation = per_dimension(kernel_dilation, n, 'kernel_dilation', 1)
    pads, mode = resolve_padding(
        padding, padding_mode, x_shape[1:-1], kernel_size, strides, input_dilation, kernel_dilation
    )
    spatial, left = size_after_padding(x_shape[1:-1], pads, mode)
    spec = ConvSpec(
        in_spatial=spatial,
        in_features=x_shape[-1],
        out_features=out_features,
        kernel_size=tuple(kernel_size),
        strides=strides,
        padding=tuple(map(tuple, left)),
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        groups=int(groups),
        precision=precision,
    )
    return spec, Filling(tuple(map(tuple, pads)), mode)


def is_empty(case) -> bool:
    """Whether there is nothing to compute: an empty batch or output, or an input without positions or channels."""
    spec = case.spec
    sizes = (*spec.in_spatial, spec.in_features, *spec.out_spatial, spec.out_features)
    return 0 in sizes or (case.known and case.batch == 0)
