"""PyTorch's spelling of a convolution's size, stride, padding and dilation, as fields of a Flax layer."""

from typing import Any

from flax_dynconv.convert.errors import ConversionError


def per_dimension(value, ndim: int) -> tuple[int, ...]:
    """An int, a tuple of one or a tuple of `ndim`, as `ndim` ints."""
    values = value if isinstance(value, tuple) else (value,)
    return values * ndim if len(values) == 1 else values


def torch_padding(padding, kernel_size, strides, dilation) -> tuple[tuple[int, int], ...]:
    """Explicit amounts as torch.nn pads: 'same' puts the odd one at the end, and refuses strides.

    >>> torch_padding('same', (4,), (1,), (1,))
    ((1, 2),)
    """
    if padding == 'valid':
        return ((0, 0),) * len(kernel_size)
    if padding != 'same':
        return tuple((p, p) for p in per_dimension(padding, len(kernel_size)))
    if set(strides) != {1}:
        raise ConversionError(f"argument 'padding': 'same' expects stride 1, as in PyTorch, got {strides}")
    totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


def conv_fields(args: dict[str, Any], ndim: int, *, in_features: int, out_features: int) -> dict[str, Any]:
    """Fields of a Flax layer from `kernel_size, stride, padding, dilation, groups` (and `padding_mode`, `bias`).

    Raises ConversionError if `groups` does not divide both numbers of channels.
    """
    groups = args['groups']
    for name, features in (('input', in_features), ('output', out_features)):
        if features % groups:
            raise ConversionError(
                f"argument 'groups': expected a divisor of the {features} {name} channels, got {groups}"
            )
    kernel_size = per_dimension(args['kernel_size'], ndim)
    strides = per_dimension(args['stride'], ndim)
    dilation = per_dimension(args['dilation'], ndim)
    fields = {
        'features': out_features,
        'kernel_size': kernel_size,
        'strides': strides,
        'padding': torch_padding(args['padding'], kernel_size, strides, dilation),
        'kernel_dilation': dilation,
        'feature_group_count': groups,
    }
    if 'padding_mode' in args:
        fields['padding_mode'] = args['padding_mode']
    return fields


def example_spatial(fields: dict[str, Any]) -> tuple[int, ...]:
    """A spatial shape that every padding mode of these fields accepts and that gives a non-empty output."""
    extents = [(k - 1) * d + 1 for k, d in zip(fields['kernel_size'], fields['kernel_dilation'], strict=True)]
    padding = fields['padding']
    if isinstance(padding, str):
        return tuple(extents)
    return tuple(e + max(pads) + 1 for e, pads in zip(extents, padding, strict=True))
