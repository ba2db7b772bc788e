"""kaijieshi7/Dynamic-convolution-Pytorch: `Dynamic_conv1d`, `Dynamic_conv2d` and `Dynamic_conv3d`."""

import functools

from flax_dynconv.convert.arguments import REQUIRED, Signature, flag, positive_int, positive_number
from flax_dynconv.convert.conv_arguments import conv_fields, example_spatial
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references._common import checked, conv_checks, dtype_fields
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import identity, kernel_bank, pointwise_as_linear
from flax_dynconv.layers import DynamicConv, DynamicConvRouting

_DEFAULTS = {
    'in_planes': REQUIRED,
    'out_planes': REQUIRED,
    'kernel_size': REQUIRED,
    'ratio': 0.25,
    'stride': 1,
    'padding': 0,
    'dilation': 1,
    'groups': 1,
    'bias': True,
    'K': 4,
    'temperature': 34,
    'init_weight': True,  # of no meaning for weights that exist
}
_CHECKS = {
    'in_planes': positive_int,
    'out_planes': positive_int,
    'ratio': positive_number,
    'K': positive_int,
    'temperature': positive_number,
    'init_weight': flag,
}


def rules(ndim: int) -> tuple[Rule, ...]:
    """The table of the layer with `ndim` spatial dimensions."""
    attention = (
        Rule('fc1.weight', 'params/hidden/kernel', pointwise_as_linear(ndim)),
        Rule('fc2.weight', 'params/logits/kernel', pointwise_as_linear(ndim)),
        Rule('fc2.bias', 'params/logits/bias', identity),
    )
    bank = (Rule('weight', 'params/kernel', kernel_bank), Rule('bias', 'params/bias', identity))
    return (*bank, *mount(attention, 'attention', 'routing'))


def _fields(ndim, args):
    return {
        **conv_fields(args, ndim, in_features=args['in_planes'], out_features=args['out_planes']),
        'use_bias': args['bias'],
        'num_kernels': args['K'],
        'reduction': args['ratio'],
        # The 3-D attention alone has no bias.
        'router': functools.partial(DynamicConvRouting, use_bias=ndim < 3),
    }


def _build(ndim, args, dtype, param_dtype):
    return DynamicConv(**_fields(ndim, args), **dtype_fields(dtype, param_dtype))


def dynamic_conv(ndim: int) -> Reference:
    """The reference of one number of spatial dimensions."""
    return Reference(
        signature=Signature(_DEFAULTS, checked(_DEFAULTS, conv_checks(ndim, square=True) | _CHECKS)),
        build=functools.partial(_build, ndim),
        rules=lambda args: rules(ndim),
        example=lambda args: ((2, *example_spatial(_fields(ndim, args)), args['in_planes']),),
        modules=lambda args: (ModuleRule('attention', 'routing', 'as_is'),),
    )
