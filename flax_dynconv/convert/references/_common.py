"""Pieces that several references share: tables of norms and linear layers, arguments of convolutions, dtypes."""

from collections.abc import Mapping
from typing import Any

from flax_dynconv.convert.arguments import REQUIRED, flag, ints, one_of, padding, positive_int, probability, square_ints
from flax_dynconv.convert.conv_arguments import conv_fields, example_spatial
from flax_dynconv.convert.rules import Rule
from flax_dynconv.convert.transforms import identity, kernel_bank, linear

PADDING_MODES = ('zeros', 'reflect', 'replicate', 'circular')

# torch.nn.BatchNorm: affine parameters, running statistics and a counter that only PyTorch has.
BATCH_NORM = (
    Rule('weight', 'params/scale', identity),
    Rule('bias', 'params/bias', identity),
    Rule('running_mean', 'batch_stats/mean', identity),
    Rule('running_var', 'batch_stats/var', identity),
    Rule('num_batches_tracked', 'torch_buffers/num_batches_tracked', identity),
)


def conv_checks(
    ndim: int, *, square: bool = False, padding_names: tuple[str, ...] = ('same', 'valid')
) -> dict[str, Any]:
    """Checks of the arguments that convolutions share; `square` for modules whose kernel has one size."""
    return {
        'kernel_size': square_ints(ndim) if square else ints(ndim),
        'stride': ints(ndim),
        'padding': padding(ndim, padding_names),
        'dilation': ints(ndim),
        'groups': positive_int,
        'bias': flag,
        'padding_mode': one_of(*PADDING_MODES),
    }


def checked(defaults: Mapping[str, Any], checks: Mapping[str, Any]) -> dict[str, Any]:
    """Those checks whose argument the constructor has."""
    return {name: check for name, check in checks.items() if name in defaults}


def dtype_fields(dtype: Any, param_dtype: Any) -> dict[str, Any]:
    """The fields of a module for the dtypes that were given; what is None keeps the module's default."""
    fields = {'dtype': dtype, 'param_dtype': param_dtype}
    return {name: value for name, value in fields.items() if value is not None}


# What subclasses of torch's _ConvNd take, with their defaults.
CONV_DEFAULTS = {
    'in_channels': REQUIRED,
    'out_channels': REQUIRED,
    'kernel_size': REQUIRED,
    'stride': 1,
    'padding': 0,
    'dilation': 1,
    'groups': 1,
    'bias': True,
    'padding_mode': 'zeros',
}
CONV_CHECKS = conv_checks(2) | {'in_channels': positive_int, 'out_channels': positive_int, 'dropout_rate': probability}
BANK = (Rule('weight', 'params/kernel', kernel_bank), Rule('bias', 'params/bias', identity))


def biased_conv_fields(args: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a Flax layer from the arguments of `CONV_DEFAULTS`."""
    conv = conv_fields(args, 2, in_features=args['in_channels'], out_features=args['out_channels'])
    return {**conv, 'use_bias': args['bias']}


def biased_conv_example(args: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """The shape of an input for the arguments of `CONV_DEFAULTS`."""
    return ((2, *example_spatial(biased_conv_fields(args)), args['in_channels']),)


def linear_rules(torch: str, flax: str) -> tuple[Rule, Rule]:
    """The table of a torch.nn.Linear with a bias."""
    weight = Rule(f'{torch}.weight', f'params/{flax}/kernel', linear)
    return weight, Rule(f'{torch}.bias', f'params/{flax}/bias', identity)
