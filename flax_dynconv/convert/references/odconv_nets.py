"""OSVAI/ODConv: the networks `od_resnet18` to `od_resnet101` of `models/od_resnet.py`."""

import functools

from flax_dynconv.convert.arguments import Signature, positive_int, positive_number, probability
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import odconv
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import conv_kernel, identity, linear
from flax_dynconv.models.resnets import DEPTHS, odconv_resnet

_SIGNATURE = Signature(
    {'num_classes': 1000, 'dropout': 0.1, 'reduction': 0.0625, 'kernel_num': 1},
    {'num_classes': positive_int, 'dropout': probability, 'reduction': positive_number, 'kernel_num': positive_int},
)

# Stem, shortcuts and classifier are static, the convolutions of the blocks are ODConv.
RULES = (
    Rule('conv1.weight', 'params/conv1/kernel', conv_kernel),
    *mount(BATCH_NORM, 'bn1', 'bn1'),
    *mount(odconv.RULES, 'layer{s}.{b}.conv{i}', 'layer{s}_{b}/conv{i}'),
    *mount(BATCH_NORM, 'layer{s}.{b}.bn{i}', 'layer{s}_{b}/bn{i}'),
    Rule('layer{s}.{b}.downsample.0.weight', 'params/layer{s}_{b}/downsample_0/kernel', conv_kernel),
    *mount(BATCH_NORM, 'layer{s}.{b}.downsample.1', 'layer{s}_{b}/downsample_1'),
    Rule('fc.weight', 'params/fc/kernel', linear),
    Rule('fc.bias', 'params/fc/bias', identity),
)


def _modules(depth):
    """Blocks, shortcuts and stages: the output of a stage is that of its last block."""
    stages = enumerate(DEPTHS[depth]['stage_sizes'], start=1)
    return (
        ModuleRule('layer{s}.{b}', 'layer{s}_{b}'),
        ModuleRule('layer{s}.{b}.downsample', 'layer{s}_{b}/downsample_1'),
        *(ModuleRule(f'layer{stage}', f'layer{stage}_{size - 1}') for stage, size in stages),
    )


def _build(depth, args, dtype, param_dtype):
    return odconv_resnet(
        depth,
        num_kernels=args['kernel_num'],
        reduction=args['reduction'],
        num_classes=args['num_classes'],
        dropout=args['dropout'],
        **dtype_fields(dtype, param_dtype),
    )


def od_resnet(depth: int) -> Reference:
    """The reference of one depth."""
    return Reference(
        signature=_SIGNATURE,
        build=functools.partial(_build, depth),
        rules=lambda args: RULES,
        example=lambda args: ((2, 64, 64, 3),),
        outputs=('as_is',),
        modules=lambda args: _modules(depth),
        call=lambda train: {'train': train},
        dropout='dropout',
    )
