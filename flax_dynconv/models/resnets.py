"""The published ResNets: depths, and which convolutions each method makes dynamic."""

import functools

from flax_dynconv.layers import DynamicConv, ODConv
from flax_dynconv.models._construct import construct
from flax_dynconv.models._methods import condconv_seams
from flax_dynconv.models.residual_blocks import BasicBlock, Bottleneck
from flax_dynconv.models.resnet import ResNet

DEPTHS = {
    10: {'block': BasicBlock, 'stage_sizes': (1, 1, 1, 1)},
    18: {'block': BasicBlock, 'stage_sizes': (2, 2, 2, 2)},
    34: {'block': BasicBlock, 'stage_sizes': (3, 4, 6, 3)},
    50: {'block': Bottleneck, 'stage_sizes': (3, 4, 6, 3)},
    101: {'block': Bottleneck, 'stage_sizes': (3, 4, 23, 3)},
    # For small images: a 3x3 stem without pooling and three stages of 16, 32 and 64 channels (He et al., section 4.2;
    # the shortcuts that change shape are 1x1 projections). 8 is the smallest, for 8x8 digits.
    8: {'block': BasicBlock, 'stage_sizes': (1, 1, 1), 'features': 16, 'stem': 'cifar'},
    20: {'block': BasicBlock, 'stage_sizes': (3, 3, 3), 'features': 16, 'stem': 'cifar'},
}


def resnet(depth, **fields):
    """`ResNet` of one of `DEPTHS`; `fields` are `ResNet`'s own. ValueError for another depth, TypeError for a field.

    >>> resnet(18, num_classes=10).stage_sizes
    (2, 2, 2, 2)
    """
    if depth not in DEPTHS:
        raise ValueError(f'depth must be one of {sorted(DEPTHS)}, got {depth}')
    return construct(ResNet, {**DEPTHS[depth], **fields})


def odconv_resnet(depth, *, num_kernels=4, reduction=1 / 16, **fields):
    """ODConv's ResNet: every convolution of the blocks is ODConv; stem, 1x1 shortcuts and classifier are static.

    Source: Li, Zhou, Yao, "Omni-Dimensional Dynamic Convolution" (ICLR 2022); OSVAI/ODConv `models/od_resnet.py`.

    >>> odconv_resnet(18, num_kernels=1).conv.keywords['num_kernels']
    1
    """
    conv = functools.partial(ODConv, num_kernels=num_kernels, reduction=reduction)
    return resnet(depth, **{'conv': conv, **fields})


def dyconv_resnet(depth, *, num_kernels=4, reduction=0.25, **fields):
    """DY-CNN's ResNet: every convolution but the stem is a DynamicConv, the 1x1 shortcuts too.

    Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels" (CVPR 2020); layout and parameter
    count as kaijieshi7/Dynamic-convolution-Pytorch.

    >>> dyconv_resnet(18).downsample_conv.func.__name__
    'DynamicConv'
    """
    conv = functools.partial(DynamicConv, num_kernels=num_kernels, reduction=reduction)
    return resnet(depth, **{'conv': conv, 'downsample_conv': conv, **fields})


def condconv_resnet(depth, *, num_kernels=8, **fields):
    """CondConv's ResNet: the convolutions of the last three blocks and the classifier.

    The routing of a block is computed once, from the block's input; that of the classifier, a 1x1 CondConv with a
    bias per kernel, from the pooled features. The 1x1 shortcuts are static.

    Source: Yang et al., "CondConv" (NeurIPS 2019), for ResNet-50; ResNet-18 with the 81.35 million parameters that
    the ODConv paper compares with.

    >>> condconv_resnet(50).dynamic_blocks
    3
    """
    seams = condconv_seams(num_kernels)
    return resnet(depth, **{**seams, 'dynamic_blocks': 3, 'classifier_conv': seams['conv'], **fields})


# (method, constructor, depths, kernels): 'method_resnet{depth}_{kernels}x' of each combination is a published network
# or, for the two small depths, its counterpart for small images.
_DYNAMIC = (
    ('odconv', odconv_resnet, (8, 18, 20, 34, 50, 101), (1, 2, 4)),
    ('dyconv', dyconv_resnet, (8, 10, 18, 20, 34, 50), (4,)),
    ('condconv', condconv_resnet, (18, 50), (8,)),
)

RESNETS = {f'resnet{depth}': functools.partial(resnet, depth) for depth in sorted(DEPTHS)} | {
    f'{method}_resnet{depth}_{kernels}x': functools.partial(constructor, depth, num_kernels=kernels)
    for method, constructor, depths, counts in _DYNAMIC
    for depth in depths
    for kernels in counts
}
# For small images nothing is published. Here all blocks are dynamic and the classifier is not, so that the methods
# differ in the convolutions of the blocks.
RESNETS['condconv_resnet20_4x'] = functools.partial(
    condconv_resnet, 20, num_kernels=4, dynamic_blocks=None, classifier_conv=None
)
