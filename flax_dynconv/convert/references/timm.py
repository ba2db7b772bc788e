"""huggingface/pytorch-image-models: the layer `CondConv2d` of `timm/layers/cond_conv2d.py`."""

from flax_dynconv.convert.arguments import REQUIRED, Signature, positive_int
from flax_dynconv.convert.conv_arguments import conv_fields, example_spatial, per_dimension
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references._common import checked, conv_checks, dtype_fields
from flax_dynconv.convert.rules import Rule
from flax_dynconv.convert.transforms import flat_bank, identity
from flax_dynconv.layers import CondConv

_DEFAULTS = {
    'in_channels': REQUIRED,
    'out_channels': REQUIRED,
    'kernel_size': 3,
    'stride': 1,
    'padding': '',
    'dilation': 1,
    'groups': 1,
    'bias': False,
    'num_experts': 4,
}
_CHECKS = conv_checks(2, padding_names=('', 'same', 'valid')) | {
    'in_channels': positive_int,
    'out_channels': positive_int,
    'num_experts': positive_int,
}


def fields(args):
    """Fields of `CondConv`; timm's 'same' is TensorFlow's, with strides too, and '' is symmetric.

    >>> arguments = {name: default for name, default in _DEFAULTS.items()}
    >>> fields(arguments | {'in_channels': 8, 'out_channels': 8, 'kernel_size': 5, 'stride': 2})['padding']
    ((2, 2), (2, 2))
    """
    if args['padding'] == 'same':
        padding, resolved = 0, 'SAME'
    elif args['padding'] == '':
        spans = zip(*(per_dimension(args[name], 2) for name in ('kernel_size', 'stride', 'dilation')), strict=True)
        padding, resolved = tuple(((s - 1) + d * (k - 1)) // 2 for k, s, d in spans), None
    else:
        padding, resolved = args['padding'], None
    conv = conv_fields(
        args | {'padding': padding}, 2, in_features=args['in_channels'], out_features=args['out_channels']
    )
    if resolved:
        conv['padding'] = resolved
    return {**conv, 'use_bias': args['bias'], 'num_kernels': args['num_experts']}


def _build(args, dtype, param_dtype):
    return CondConv(**fields(args), **dtype_fields(dtype, param_dtype))


def _rules(args):
    size = per_dimension(args['kernel_size'], 2)
    shape = (args['num_experts'], args['out_channels'], args['in_channels'] // args['groups'], *size)
    return (Rule('weight', 'params/kernel', flat_bank(shape)), Rule('bias', 'params/bias', identity))


CONDCONV2D = Reference(
    signature=Signature(_DEFAULTS, checked(_DEFAULTS, _CHECKS)),
    build=_build,
    rules=_rules,
    example=lambda args: ((2, *example_spatial(fields(args)), args['in_channels']), (2, args['num_experts'])),
    inputs=('channels_first', 'as_is'),
)
