"""timm: the networks `tf_efficientnet_cc_*`, their static twins, and the block `CondConvResidual`."""

import functools
import re

from flax import linen as nn

from flax_dynconv.convert.arguments import (
    REQUIRED,
    Signature,
    flag,
    ints,
    one_of,
    positive_int,
    positive_number,
    probability,
)
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.references._networks import CONV, LINEAR, POINTWISE, classifier, norm
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import flat_bank
from flax_dynconv.layers import CondConv, CondConvRouting
from flax_dynconv.models.efficientnet import condconv_efficientnet, efficientnet
from flax_dynconv.models.inverted_residual import InvertedResidual
from flax_dynconv.models.mobile import round_channels
from flax_dynconv.models.network import batch_norm

_ACTIVATIONS = {
    'ReLU': nn.relu,
    'ReLU6': nn.relu6,
    'SiLU': nn.silu,
    'Swish': nn.silu,
    'Hardswish': nn.hard_swish,
    'HardSwish': nn.hard_swish,
    # PyTorch's is exact, Flax's default is the approximation by tanh.
    'GELU': functools.partial(nn.gelu, approximate=False),
}


def _block_rules(torch, flax, mid, inputs, outputs, size, experts, squeeze=True, expands=True):
    """The table of a block; `experts` is the number of kernels of a CondConv, None for a static one."""

    def conv(name, shape):
        return CONV if experts is None else (Rule('weight', 'params/kernel', flat_bank((experts, *shape))),)

    depthwise = (mid, 1, size, size)
    if expands:
        layers = [('conv_pw', 'bn1', 'expand', (mid, inputs, 1, 1)), ('conv_dw', 'bn2', 'depthwise', depthwise)]
        layers += [('conv_pwl', 'bn3', 'project', (outputs, mid, 1, 1))]
    else:
        layers = [('conv_dw', 'bn1', 'depthwise', depthwise), ('conv_pw', 'bn2', 'project', (outputs, mid, 1, 1))]
    table = []
    for name, bn, place, shape in layers:
        table += mount(conv(name, shape), f'{torch}{name}', f'{flax}{place}')
        table += norm(f'{torch}{bn}', f'{flax}{place}_bn')
    if squeeze:
        table += mount(POINTWISE, f'{torch}se.conv_reduce', f'{flax}se/reduce')
        table += mount(POINTWISE, f'{torch}se.conv_expand', f'{flax}se/expand')
    if experts is not None:
        table += mount(LINEAR, f'{torch}routing_fn', f'{flax}routing')
    return table


def _block_norms(torch, flax, expands, act):
    names = ('expand', 'depthwise') if expands else ('depthwise',)
    return [ModuleRule(f'{torch}bn{n}', f'{flax}{name}_bn', then=act) for n, name in enumerate(names, start=1)]


def _network_rules(stages, experts, dynamic):
    """Blocks count over all stages; the last `dynamic` of them are CondConv."""
    table = [*mount(CONV, 'conv_stem', 'stem'), *norm('bn1', 'stem_bn')]
    total, index, inputs = sum(row.repeats for row in stages), 0, 32
    for s, row in enumerate(stages):
        for i in range(row.repeats):
            mid = inputs * row.expansion
            kernels = experts if index >= total - dynamic else None
            sizes = (mid, inputs, row.features, row.kernel_size, kernels)
            more = {'squeeze': bool(row.squeeze), 'expands': row.expansion != 1}
            table += _block_rules(f'blocks.{s}.{i}.', f'blocks_{s}_{i}/', *sizes, **more)
            inputs, index = row.features, index + 1
    table += [*mount(CONV, 'conv_head', 'head'), *norm('bn2', 'head_bn'), *mount(LINEAR, 'classifier', 'classifier')]
    return tuple(table)


_SIGNATURE = Signature(
    {
        'num_classes': 1000,
        'in_chans': 3,
        'drop_rate': 0.0,
        'drop_path_rate': 0.0,
        'bn_eps': 1e-3,
        'bn_momentum': 0.1,
        'output_stride': 32,
        'pad_type': 'same',
    },
    {
        'num_classes': ints(1, 0),
        'in_chans': positive_int,
        'drop_rate': probability,
        'drop_path_rate': probability,
        'bn_eps': positive_number,
        'bn_momentum': probability,
        'output_stride': one_of(8, 16, 32),
        'pad_type': one_of('same', ''),
    },
)


def _norm(args):
    return functools.partial(batch_norm, epsilon=args['bn_eps'], momentum=1 - args['bn_momentum'])


def _build(network, args, dtype, param_dtype):
    return network(
        num_classes=args['num_classes'],
        in_channels=args['in_chans'],
        dropout=args['drop_rate'],
        drop_path=args['drop_path_rate'],
        norm=_norm(args),
        output_stride=args['output_stride'],
        padding='SAME' if args['pad_type'] == 'same' else None,
        **dtype_fields(dtype, param_dtype),
    )


def tf_efficientnet(depth: float = 1.0, experts: int | None = None) -> Reference:
    """The reference of one depth: CondConv with so many experts, or static."""
    network = functools.partial(efficientnet, depth=depth)
    if experts is not None:
        network = functools.partial(condconv_efficientnet, depth=depth, num_kernels=experts)
    model = network()
    stages, dynamic = model.stages, 0 if experts is None else model.dynamic_blocks
    rules = _network_rules(stages, experts, dynamic)
    last = tuple(ModuleRule(f'blocks.{s}', f'blocks_{s}_{row.repeats - 1}') for s, row in enumerate(stages))
    # timm's norms end with the activation, but for a block's last one.
    norms = [ModuleRule('bn1', 'stem_bn', then=nn.silu), ModuleRule('bn2', 'head_bn', then=nn.silu)]
    for s, row in enumerate(stages):
        for i in range(row.repeats):
            norms += _block_norms(f'blocks.{s}.{i}.', f'blocks_{s}_{i}/', row.expansion != 1, nn.silu)
    return classifier(
        _SIGNATURE,
        lambda args, dtype, param_dtype: _build(network, args, dtype, param_dtype),
        lambda args: rules,
        lambda args: (ModuleRule('blocks.{s}.{i}', 'blocks_{s}_{i}'), *last, *norms),
        dropout=('drop_rate', 'drop_path_rate'),
        channels='in_chans',
    )


# JSON holds no class: layers of the constructor are named. `se` is the inner size of squeeze-and-excitation over
# in_chs, timm's `se_layer` with rd_ratio / exp_ratio.
_SE_TEXT = re.compile(r'(?:rd\s*=\s*)?round\(in_chs\s*\*\s*([\d.]+)\)')
_BLOCK_DEFAULTS = {
    'in_chs': REQUIRED,
    'out_chs': REQUIRED,
    'dw_kernel_size': 3,
    'stride': 1,
    'dilation': 1,
    'pad_type': '',
    'noskip': False,
    'exp_ratio': 1.0,
    'num_experts': 4,
    'act': 'ReLU',
    'bn_eps': 1e-5,
    'bn_momentum': 0.1,
    'se': None,
    'drop_path_rate': 0.0,
}


def _squeeze_ratio(value):
    """The ratio that `se` means: null or 0 for none, a number, or timm's rule in words; None if it is none of them."""
    if isinstance(value, str) and (match := _SE_TEXT.fullmatch(value.strip())):
        return float(match.group(1))
    if value is None:
        return 0.0
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


_BLOCK_CHECKS = {
    'in_chs': positive_int,
    'out_chs': positive_int,
    'dw_kernel_size': positive_int,
    'stride': positive_int,
    'dilation': positive_int,
    'pad_type': one_of('', 'same'),
    'noskip': flag,
    'exp_ratio': positive_number,
    'num_experts': positive_int,
    'act': one_of(*_ACTIVATIONS),
    'bn_eps': positive_number,
    'bn_momentum': probability,
    'se': lambda value: None if _squeeze_ratio(value) is not None else "a number, null or 'round(in_chs*RATIO)'",
    'drop_path_rate': probability,
}


def _expanded(args):
    return round_channels(args['in_chs'] * args['exp_ratio'])


def _build_block(args, dtype, param_dtype):
    ratio, dtypes = _squeeze_ratio(args['se']), dtype_fields(dtype, param_dtype)
    return InvertedResidual(
        features=args['out_chs'],
        expanded=_expanded(args),
        expand=True,
        kernel_size=args['dw_kernel_size'],
        strides=args['stride'],
        dilation=args['dilation'],
        squeeze=round(args['in_chs'] * ratio),
        residual=not args['noskip'],
        conv=functools.partial(CondConv, num_kernels=args['num_experts'], **dtypes),
        router=functools.partial(CondConvRouting, num_kernels=args['num_experts'], **dtypes),
        norm=functools.partial(_norm(args), **dtypes),
        act=_ACTIVATIONS[args['act']],
        padding='SAME' if args['pad_type'] == 'same' else None,
        drop_path=args['drop_path_rate'],
        **dtypes,
    )


def _block_table(args):
    sizes = (_expanded(args), args['in_chs'], args['out_chs'], args['dw_kernel_size'], args['num_experts'])
    return tuple(_block_rules('', '', *sizes, squeeze=bool(round(args['in_chs'] * _squeeze_ratio(args['se'])))))


CONDCONV_RESIDUAL = Reference(
    signature=Signature(_BLOCK_DEFAULTS, _BLOCK_CHECKS, aliases={'act_layer': 'act', 'se_layer': 'se'}),
    build=_build_block,
    rules=_block_table,
    example=lambda args: ((2, 16, 16, args['in_chs']),),
    modules=lambda args: tuple(_block_norms('', '', True, _ACTIVATIONS[args['act']])),
    call=lambda train: {'train': train},
    dropout=('drop_path_rate',),
)
