"""The published networks for salient objects in images with depth, and small ones for quick runs."""

import dataclasses
import functools

from flax_dynconv.layers._torch_init import torch_bias, torch_kernel
from flax_dynconv.models._construct import construct
from flax_dynconv.models.hdfnet import HDFNet
from flax_dynconv.models.network import static_conv
from flax_dynconv.models.registry import create_model

_OWN = {field.name for field in dataclasses.fields(HDFNet)} - {'encoder', 'depth_encoder'}
# What both the encoders and the decoder have.
_SHARED = ('norm', 'act', 'remat', 'dtype', 'param_dtype', 'precision')
# Of these nothing is published: they are for small images.
_CHANNELS = {'vgg8_bn': 16, 'resnet8': 16, 'odconv_resnet8_2x': 16}
# The first convolution of the depth encoder is new in the published networks, and initialised as PyTorch does.
_depth_stem = functools.partial(static_conv, kernel_init=torch_kernel, bias_init=torch_bias(9))


def hdfnet(encoder, *, channels=None, width=1.0, **fields):
    """`HDFNet` on two encoders that `create_model` calls `encoder`, one for images and one for depth.

    `channels` are those of the decoder, None: 64, and 16 for the encoders for small images, times `width`, in steps of
    four. `width` multiplies the channels of the encoders too. `fields` are `HDFNet`'s own (`dynamic_levels`,
    `dilations`, `probabilities`, `implementation`); norm, act, remat, dtype, param_dtype and precision reach encoders
    and decoder; all others are the encoders' (`output_stride`, `conv`, `num_kernels`, ..).

    Raises ValueError for an unknown name, TypeError for an unknown field.

    >>> model = hdfnet('odconv_resnet18_4x', num_kernels=2, remat=True)
    >>> model.encoder.feature_strides, model.depth_encoder.in_channels, model.encoder.remat
    ((2, 4, 8, 16, 32), 1, True)

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); on
    'vgg16_bn', 'vgg19_bn' and 'resnet50' lartpang/HDFNet's `HDFNet_VGG16`, `HDFNet_VGG19` and `HDFNet_Res50`.
    """
    own = {name: value for name, value in fields.items() if name in _OWN}
    passed = {name: value for name, value in fields.items() if name not in _OWN or name in _SHARED}
    passed = {'width': width, 'features_only': True, **passed}
    encoders = {
        'encoder': create_model(encoder, 0, **{'in_channels': 3, **passed}),
        'depth_encoder': create_model(encoder, 0, **{'stem_conv': _depth_stem, **passed, 'in_channels': 1}),
    }
    usual = max(4, 4 * round(_CHANNELS.get(encoder, 64) * width / 4))
    return construct(HDFNet, {**encoders, 'channels': usual if channels is None else channels, **own})


# name -> constructor that takes the fields of the network as keywords
SALIENCY_NETWORKS = {
    'hdfnet_vgg16': functools.partial(hdfnet, 'vgg16_bn'),
    'hdfnet_vgg19': functools.partial(hdfnet, 'vgg19_bn'),
    'hdfnet_resnet50': functools.partial(hdfnet, 'resnet50'),
    'hdfnet_vgg8': functools.partial(hdfnet, 'vgg8_bn'),
    'hdfnet_resnet8': functools.partial(hdfnet, 'resnet8'),
    'hdfnet_odconv_resnet8_2x': functools.partial(hdfnet, 'odconv_resnet8_2x'),
}
