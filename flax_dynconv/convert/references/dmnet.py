"""DMNet: `DCM` and `DMHead` of Junjun2016/DMNet and mmsegmentation, and mmsegmentation's whole `EncoderDecoder`."""

import functools

from flax_dynconv.convert.arguments import REQUIRED, Signature, flag, one_of, positive_int, probability
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import _resnet, mmseg
from flax_dynconv.convert.references._common import BATCH_NORM, dtype_fields
from flax_dynconv.convert.references._networks import CONV
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import conv_kernel, identity
from flax_dynconv.layers import DCM as DCMLayer
from flax_dynconv.models import DMHead, FCNHead, Segmenter

_BIASED = (Rule('weight', 'params/kernel', conv_kernel), Rule('bias', 'params/bias', identity))
# mmcv's ConvModule.
_CONV_MODULE = (*mount(CONV, 'conv', 'conv'), *mount(BATCH_NORM, 'bn', 'bn'))
_DCM = (
    *mount(_BIASED, 'filter_gen_conv', 'filter_gen_conv'),
    *mount(_CONV_MODULE, 'input_redu_conv', 'input_redu_conv'),
    *mount(BATCH_NORM, 'norm', 'norm'),
    *mount(_CONV_MODULE, 'fusion_conv', 'fusion_conv'),
)
_DM_HEAD = (
    *mount(_DCM, 'dcm_modules.{i}', 'dcm_modules_{i}'),
    *mount(_CONV_MODULE, 'bottleneck', 'bottleneck'),
    *mount(_BIASED, 'conv_seg', 'conv_seg'),
)
_FCN_HEAD = (*mount(_CONV_MODULE, 'convs.{i}', 'convs_{i}'), *mount(_BIASED, 'conv_seg', 'conv_seg'))
_HEAD_MODULES = (ModuleRule('dcm_modules.{i}', 'dcm_modules_{i}'), ModuleRule('bottleneck', 'bottleneck'))


def _sizes(value):
    fine = isinstance(value, tuple) and value and all(positive_int(k) is None for k in value)
    return None if fine else 'a list of ints >= 1'


_HEAD_DEFAULTS = {'filter_sizes': (1, 3, 5, 7), 'fusion': False, 'in_channels': REQUIRED, 'channels': REQUIRED}
_HEAD_DEFAULTS |= {'num_classes': REQUIRED, 'dropout_ratio': 0.1}
_HEAD_CHECKS = {'filter_sizes': _sizes, 'fusion': flag, 'in_channels': positive_int, 'channels': positive_int}
_HEAD_CHECKS |= {'num_classes': positive_int, 'dropout_ratio': probability}

DCM = Reference(
    signature=Signature(
        {'filter_size': REQUIRED, 'fusion': False, 'in_channels': REQUIRED, 'channels': REQUIRED},
        {'filter_size': positive_int, 'fusion': flag, 'in_channels': positive_int, 'channels': positive_int},
    ),
    build=lambda args, dtype, param_dtype: DCMLayer(
        args['channels'], args['filter_size'], args['fusion'], **dtype_fields(dtype, param_dtype)
    ),
    rules=lambda args: _DCM,
    example=lambda args: ((2, 9, 9, args['in_channels']),),
)


def _head(args, **fields):
    names = ('filter_sizes', 'fusion', 'channels')
    return functools.partial(DMHead, **{name: args[name] for name in names}, **fields)


DM_HEAD = Reference(
    signature=Signature(_HEAD_DEFAULTS, _HEAD_CHECKS),
    build=lambda args, dtype, param_dtype: _head(args, **dtype_fields(dtype, param_dtype))(
        num_classes=args['num_classes'], dropout=args['dropout_ratio']
    ),
    rules=lambda args: _DM_HEAD,
    example=lambda args: ((2, 9, 9, args['in_channels']),),
    modules=lambda args: _HEAD_MODULES,
    call=lambda train: {'train': train},
    dropout=('dropout_ratio',),
)

# Stages 3 and 4 of a ResNet of bottlenecks have 16 and 32 times `base_channels`.
_LAST = 32


def _network(args, dtype, param_dtype):
    wanted = _LAST * args['base_channels']
    if args['in_channels'] not in (None, wanted):
        raise ConversionError(
            f"argument 'in_channels': expected {wanted}, the channels of the backbone's last map, "
            f'got {args["in_channels"]}'
        )
    return Segmenter(
        backbone=mmseg.backbone(args['depth'], args | {'in_channels': 3}, dtype, param_dtype),
        head=_head(args),
        auxiliary_head=functools.partial(FCNHead, channels=args['auxiliary_channels']),
        num_classes=args['num_classes'],
        auxiliary=args['auxiliary'] is not False,
        dropout=args['dropout_ratio'],
        resize=args['resize'],
        align_corners=args['align_corners'],
        **dtype_fields(dtype, param_dtype),
    )


def _modules(args):
    """Those of the parts, under the parts' names."""
    parts = (('backbone', 'backbone', _resnet.modules(args['depth'])), ('decode_head', 'decode_head', _HEAD_MODULES))
    heads = (ModuleRule('decode_head', 'decode_head'), ModuleRule('auxiliary_head', 'auxiliary_head'))
    inner = tuple(
        rule._replace(torch=f'{torch}.{rule.torch}', flax=f'{flax}/{rule.flax}')
        for torch, flax, rules in parts
        for rule in rules
    )
    convs = ModuleRule('auxiliary_head.convs.{i}', 'auxiliary_head/convs_{i}')
    return (*heads, *inner, convs)


# `resize`: false is what the network's `forward` gives, true what its `encode_decode` makes of that. The auxiliary
# head is converted and runs in training, but `forward` never calls it, nor does a reference case. `auxiliary` None:
# whether the weights have one; True or False: they must, or must not.
ENCODER_DECODER = Reference(
    signature=Signature(
        {
            'depth': 50,
            **{name: value for name, value in mmseg.DEFAULTS.items() if name != 'in_channels'},
            **_HEAD_DEFAULTS,
            'in_channels': None,
            'channels': 512,
            'num_classes': 19,
            'auxiliary': None,
            'auxiliary_channels': 256,
            'align_corners': False,
            'resize': False,
        },
        {
            **mmseg.CHECKS,
            **_HEAD_CHECKS,
            'depth': one_of(50, 101),
            'in_channels': lambda value: None if value is None else positive_int(value),
            'auxiliary': lambda value: None if value is None else flag(value),
            'auxiliary_channels': positive_int,
            'align_corners': flag,
            'resize': flag,
        },
    ),
    build=_network,
    rules=lambda args: (
        *mount(mmseg.RULES, 'backbone', 'backbone'),
        *mount(_DM_HEAD, 'decode_head', 'decode_head'),
        *mount(_FCN_HEAD, 'auxiliary_head', 'auxiliary_head'),
    ),
    example=lambda args: ((2, args['pixels'], args['pixels'], 3),),
    modules=_modules,
    call=lambda train: {'train': train, 'with_auxiliary': False},
    dropout=('dropout_ratio',),
    inferred={'auxiliary': 'auxiliary_head'},
)
