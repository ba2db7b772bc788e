"""CondInst on the published backbones, on small ones for quick runs, and on any other."""

import dataclasses
import functools

from flax_dynconv.models._construct import construct
from flax_dynconv.models.condinst.network import CondInst
from flax_dynconv.models.registry import create_model

_OWN = {field.name for field in dataclasses.fields(CondInst)} - {'backbone'}
# What both CondInst and its backbone have.
_SHARED = ('norm', 'dtype', 'param_dtype', 'precision')
# For small images: three levels, whose boxes are smaller too. Nothing is published of these.
_SMALL = {
    'strides': (8, 16, 32),
    'sizes_of_interest': (32, 64, 128),
    'channels': 64,
    'tower_convs': 2,
    'branch_channels': 32,
    'branch_convs': 2,
}
_PUBLISHED = {'stride_in_1x1': True, 'frozen_norm': True}
# The stem for large images, but of 3x3 convolutions: maps of strides 8 and 16, to which the pyramid adds one of 32.
_STRIDED = {'stem': 'deep'}
_FIELDS = {
    'resnet50': _PUBLISHED,
    'resnet101': _PUBLISHED,
    'resnet8': _SMALL | _STRIDED,
    'odconv_resnet8_2x': _SMALL | _STRIDED,
    'resnet18': _SMALL,
}


def condinst(backbone, **fields):
    """`CondInst` on the network that `create_model` calls `backbone`.

    `fields` are `CondInst`'s own (`num_classes`, `mask_channels`, `semantic`, ..); norm, dtype, param_dtype and
    precision reach the backbone too; all others are the backbone's (`width`, `in_channels`, `drop_path`, ..).

    'resnet50' and 'resnet101' are as published: strides in the first 1x1 convolution of a block, norms of the backbone
    frozen (for weights that are trained already). `stride_in_1x1=False` is torchvision's. 'resnet8', 'resnet18' and
    'odconv_resnet8_2x' are narrow, with levels of strides 8 to 32, for images of about 64 to 128 pixels.

    Raises ValueError for an unknown name, TypeError for an unknown field.

    >>> model = condinst('odconv_resnet18_4x', num_classes=20, num_kernels=2, mask_channels=16)
    >>> model.num_parameters, model.backbone.feature_strides, model.frozen_norm
    (233, (2, 4, 8, 16, 32), False)
    >>> condinst('resnet8', width=2.0).strides
    (8, 16, 32)

    Source: Tian, Shen, Chen, "Conditional Convolutions for Instance Segmentation" (ECCV 2020): AdelaiDet's
    `CondInst/MS_R_50_1x` and `MS_R_101_3x`.
    """
    fields = {**_FIELDS.get(backbone, {}), **fields}
    own = {name: value for name, value in fields.items() if name in _OWN}
    passed = {name: value for name, value in fields.items() if name not in _OWN or name in _SHARED}
    network = create_model(backbone, 0, **{'in_channels': 3, 'features_only': True, **passed})
    return construct(CondInst, {'backbone': network, **own})


# name -> constructor that takes the fields of the network as keywords
INSTANCE_NETWORKS = {
    'condinst_resnet50': functools.partial(condinst, 'resnet50'),
    'condinst_resnet101': functools.partial(condinst, 'resnet101'),
    'condinst_resnet8': functools.partial(condinst, 'resnet8'),
    'condinst_resnet18': functools.partial(condinst, 'resnet18'),
    'condinst_odconv_resnet8_2x': functools.partial(condinst, 'odconv_resnet8_2x'),
}
