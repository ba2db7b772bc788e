"""The published segmentation networks, and small ones for quick runs."""

import functools

from flax_dynconv.models._construct import construct
from flax_dynconv.models.dm_head import DMHead
from flax_dynconv.models.fcn_head import FCNHead
from flax_dynconv.models.resnets import DEPTHS, resnet
from flax_dynconv.models.segmenter import Segmenter
from flax_dynconv.ops._checks import is_int

# Channels of the head and of the auxiliary head; of 8 and 18 nothing is published with this head.
_CHANNELS = {8: (64, 32), 18: (128, 64), 50: (512, 256), 101: (512, 256)}
# What the constructors pass on to the backbone, and not to the heads.
_BACKBONE = ('in_channels', 'width', 'output_stride', 'drop_path', 'remat', 'dynamic_blocks', 'conv', 'static_conv')
_SHARED = ('norm', 'act', 'dtype', 'param_dtype', 'precision')


def dmnet_resnet(depth, *, filter_sizes=(1, 3, 5, 7), fusion=False, channels=None, implementation=None, **fields):
    """DMNet: `DMHead` on the last map of a ResNetV1c at output stride 8, an auxiliary `FCNHead` on the one before.

    `depth` is 8, 18, 50 or 101; `channels` those of the head, None: 512, and fewer for the small depths.
    `implementation` is that of `DCM`. `fields` are `Segmenter`'s own; of the backbone `in_channels`, `width` (of the
    heads too), `output_stride`, `drop_path`, `remat`, `dynamic_blocks`, `conv` and `static_conv`; `norm`, `act` and
    the dtypes reach both. Depth 8 is for small images: stride 4, and no deep stem.

    The backbone has a stem of three 3x3 convolutions; strides that became dilations are as in mmsegmentation's
    `contract_dilation`: the first block of a dilated stage has the dilation of the stage before.

    Raises ValueError for another depth, TypeError for an unknown field.

    >>> model = dmnet_resnet(50, num_classes=150)
    >>> model.backbone.feature_strides, model.head.keywords['channels'], model.num_classes
    ((2, 4, 8, 8, 8), 512, 150)

    Source: He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation" (ICCV 2019); depths 50 and 101 as
    mmsegmentation's `dmnet_r50-d8` and `dmnet_r101-d8`.
    """
    head = functools.partial(DMHead, filter_sizes=filter_sizes, fusion=fusion, implementation=implementation)
    return _segmenter(depth, head, channels, fields)


def fcn_resnet(depth, *, channels=None, **fields):
    """FCN on the backbone of `dmnet_resnet`: the same network with two static 3x3 convolutions for the dynamic head.

    >>> fcn_resnet(8, num_classes=4).head.keywords['num_convs']
    2

    Source: Long, Shelhamer, Darrell (CVPR 2015); depths 50 and 101 as mmsegmentation's `fcn_r50-d8` and `fcn_r101-d8`.
    """
    return _segmenter(depth, functools.partial(FCNHead, num_convs=2, concat_input=True), channels, fields)


def _segmenter(depth, head, channels, fields):
    if not is_int(depth) or depth not in _CHANNELS:
        raise ValueError(f'depth must be one of {sorted(_CHANNELS)}, got {depth!r}')
    own = {name: value for name, value in fields.items() if name not in _BACKBONE}
    passed = {name: fields[name] for name in (*_BACKBONE, *_SHARED) if name in fields}
    stem = {'stem': 'deep'} if 'stem' not in DEPTHS[depth] else {}
    backbone = resnet(depth, **{**stem, 'output_stride': 8, 'num_classes': 0, 'features_only': True, **passed})
    usual, auxiliary = (max(1, round(n * fields.get('width', 1.0))) for n in _CHANNELS[depth])
    heads = {
        'head': functools.partial(head, channels=usual if channels is None else channels),
        'auxiliary_head': functools.partial(FCNHead, channels=auxiliary),
    }
    return construct(Segmenter, {'backbone': backbone, **heads, **own})


# name -> constructor that takes num_classes, dtype and further fields as keywords
SEGMENTERS = {
    f'{method}_resnet{depth}': functools.partial(constructor, depth)
    for method, constructor in (('dmnet', dmnet_resnet), ('fcn', fcn_resnet))
    for depth in _CHANNELS
}
