"""OSVAI/ODConv: the layer `ODConv2d` of `modules/odconv.py`."""

from flax_dynconv.convert.arguments import REQUIRED, Signature, positive_int, positive_number
from flax_dynconv.convert.conv_arguments import conv_fields, example_spatial
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references._common import BATCH_NORM, checked, conv_checks, dtype_fields
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import identity, kernel_bank, pointwise_as_linear
from flax_dynconv.layers import ODConv

_DEFAULTS = {
    'in_planes': REQUIRED,
    'out_planes': REQUIRED,
    'kernel_size': REQUIRED,
    'stride': 1,
    'padding': 0,
    'dilation': 1,
    'groups': 1,
    'reduction': 0.0625,
    'kernel_num': 4,
}
_CHECKS = conv_checks(2, square=True) | {
    'in_planes': positive_int,
    'out_planes': positive_int,
    'reduction': positive_number,
    'kernel_num': positive_int,
}

# Of the attention alone: a network that names the stem otherwise mounts the heads only.
HEADS = (
    Rule('{h:channel|filter|spatial|kernel}_fc.weight', 'params/{h}/kernel', pointwise_as_linear(2)),
    Rule('{h:channel|filter|spatial|kernel}_fc.bias', 'params/{h}/bias', identity),
)
STEM = (Rule('fc.weight', 'params/hidden/kernel', pointwise_as_linear(2)), *mount(BATCH_NORM, 'bn', 'norm'))
RULES = (Rule('weight', 'params/kernel', kernel_bank), *mount((*STEM, *HEADS), 'attention', 'routing'))


def fields(args):
    """Fields of `ODConv` from the arguments of ODConv2d."""
    return {
        **conv_fields(args, 2, in_features=args['in_planes'], out_features=args['out_planes']),
        'use_bias': False,
        'num_kernels': args['kernel_num'],
        'reduction': args['reduction'],
    }


def _build(args, dtype, param_dtype):
    return ODConv(**fields(args), **dtype_fields(dtype, param_dtype))


ODCONV2D = Reference(
    signature=Signature(_DEFAULTS, checked(_DEFAULTS, _CHECKS)),
    build=_build,
    rules=lambda args: RULES,
    example=lambda args: ((2, *example_spatial(fields(args)), args['in_planes']),),
)
