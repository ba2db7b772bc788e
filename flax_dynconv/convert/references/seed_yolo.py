"""`ODConv2d` of YOLO forks: ODConv, batch norm and SiLU in one module."""

from flax import linen as nn

from flax_dynconv.convert.arguments import (
    REQUIRED,
    Signature,
    ints,
    padding,
    positive_int,
    positive_number,
    square_ints,
)
from flax_dynconv.convert.conv_arguments import conv_fields, example_spatial, per_dimension
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references import odconv
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import kernel_bank, pointwise_as_linear
from flax_dynconv.layers import ODConvNormAct

# `act`: true is SiLU. JSON holds no module, so one is named by its class in torch.nn. All else is no activation.
_ACTIVATIONS = {
    True: nn.silu,
    False: None,
    None: None,
    'SiLU': nn.silu,
    'ReLU': nn.relu,
    'ReLU6': nn.relu6,
    'LeakyReLU': nn.leaky_relu,
    'Hardswish': nn.hard_swish,
    'Sigmoid': nn.sigmoid,
    'Tanh': nn.tanh,
    'Identity': None,
}


def _named(value):
    """A torch module by the name of its class; what is no torch module stays."""
    if not hasattr(value, 'state_dict'):
        return value
    # The only one of them with a number that changes the function.
    slope = getattr(value, 'negative_slope', 0.01)
    return type(value).__name__ if slope == 0.01 else f'{type(value).__name__}(negative_slope={slope})'


def _act(value):
    value = _named(value)
    if callable(value) or (isinstance(value, bool | str | None) and value in _ACTIVATIONS):
        return None
    return f'true, false, null or one of {[name for name in _ACTIVATIONS if isinstance(name, str)]}'


def _autopad(value):
    return None if value is None else padding(2)(value)


_SIGNATURE = Signature(
    {
        'in_planes': REQUIRED,
        'out_planes': REQUIRED,
        'k': REQUIRED,
        's': 1,
        'p': None,
        'g': 1,
        'act': True,
        'd': 1,
        'reduction': 0.0625,
        'kernel_num': 1,
    },
    {
        'in_planes': positive_int,
        'out_planes': positive_int,
        'k': square_ints(2),
        's': ints(2),
        'p': _autopad,
        'g': positive_int,
        'act': _act,
        'd': ints(2),
        'reduction': positive_number,
        'kernel_num': positive_int,
    },
    aliases={'in_channels': 'in_planes', 'out_channels': 'out_planes'},
)

_ATTENTION = (
    Rule('fc.conv.weight', 'params/hidden/kernel', pointwise_as_linear(2)),
    *mount(BATCH_NORM, 'fc.bn', 'norm'),
    *odconv.HEADS,
)
_RULES = (
    Rule('weight', 'params/conv/kernel', kernel_bank),
    *mount(_ATTENTION, 'attention', 'conv/routing'),
    *mount(BATCH_NORM, 'bn', 'bn'),
)


def _fields(args):
    size = per_dimension(args['k'], 2)
    conv = {
        'kernel_size': size,
        'stride': args['s'],
        'padding': tuple(k // 2 for k in size) if args['p'] is None else args['p'],
        'dilation': args['d'],
        'groups': args['g'],
    }
    return {
        **conv_fields(conv, 2, in_features=args['in_planes'], out_features=args['out_planes']),
        'num_kernels': args['kernel_num'],
        'reduction': args['reduction'],
    }


def _build(args, dtype, param_dtype):
    act = _named(args['act'])
    act = act if callable(act) else _ACTIVATIONS[act]
    return ODConvNormAct(**_fields(args), act=act, **dtype_fields(dtype, param_dtype))


YOLO_ODCONV2D = Reference(
    signature=_SIGNATURE,
    build=_build,
    rules=lambda args: _RULES,
    example=lambda args: ((2, *example_spatial(_fields(args)), args['in_planes']),),
)
