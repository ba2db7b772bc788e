"""MobileNetV2 (Sandler et al., CVPR 2018) and what ODConv, DY-CNN and CondConv make of it."""

import functools

from flax_dynconv.layers import DynamicConv, ODConv
from flax_dynconv.models._construct import construct
from flax_dynconv.models._methods import condconv_seams
from flax_dynconv.models.mobile import MobileNet, Stage

# Table 2 of the paper.
STAGES = (
    Stage(16, 1, 1, expansion=1),
    Stage(24, 2, 2),
    Stage(32, 3, 2),
    Stage(64, 4, 2),
    Stage(96, 3, 1),
    Stage(160, 3, 2),
    Stage(320, 1, 1),
)


def mobilenetv2(**fields):
    """MobileNetV2; `fields` are `MobileNet`'s own. TypeError for one that it has not.

    Below width 1 the last 1x1 convolution keeps its 1280 channels.

    >>> mobilenetv2(width=0.5, num_classes=10).head_features
    1280

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018); padding, norms,
    initialisation and parameter count as torchvision's `mobilenet_v2`.
    """
    return construct(MobileNet, {'stages': STAGES, **fields})


def odconv_mobilenetv2(*, num_kernels=4, reduction=1 / 16, **fields):
    """ODConv's MobileNetV2: all convolutions but the first, the last 1x1 too; the classifier is static.

    Source: Li, Zhou, Yao, "Omni-Dimensional Dynamic Convolution" (ICLR 2022); OSVAI/ODConv `models/od_mobilenetv2.py`.

    >>> odconv_mobilenetv2(width=0.75).head_conv.func.__name__
    'ODConv'
    """
    conv = functools.partial(ODConv, num_kernels=num_kernels, reduction=reduction)
    return mobilenetv2(**{'conv': conv, 'head_conv': conv, **fields})


def dyconv_mobilenetv2(*, num_kernels=4, reduction=0.25, **fields):
    """DY-CNN's MobileNetV2: all convolutions but the first are DynamicConv; the classifier is static.

    Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels" (CVPR 2020), section 5; attention as
    in kaijieshi7/Dynamic-convolution-Pytorch, no code of the network was published.

    >>> dyconv_mobilenetv2(num_kernels=2).conv.keywords['num_kernels']
    2
    """
    conv = functools.partial(DynamicConv, num_kernels=num_kernels, reduction=reduction)
    return mobilenetv2(**{'conv': conv, 'head_conv': conv, **fields})


def condconv_mobilenetv2(*, num_kernels=8, **fields):
    """CondConv's MobileNetV2: the last six blocks, each with one routing, and the classifier; the last 1x1 is static.

    Source: Yang et al., "CondConv" (NeurIPS 2019), section 4.1; placement as in d-li14/condconv.pytorch.

    >>> condconv_mobilenetv2().dynamic_blocks
    6
    """
    seams = condconv_seams(num_kernels)
    return mobilenetv2(**{**seams, 'dynamic_blocks': 6, 'classifier_conv': seams['conv'], **fields})


_WIDTHS = {'050': 0.5, '075': 0.75, '100': 1.0}

MOBILENETS_V2 = (
    {f'mobilenetv2_{name}': functools.partial(mobilenetv2, width=width) for name, width in _WIDTHS.items()}
    | {
        f'odconv_mobilenetv2_{name}_{kernels}x': functools.partial(odconv_mobilenetv2, width=w, num_kernels=kernels)
        for name, w in _WIDTHS.items()
        for kernels in (1, 4)
    }
    | {
        f'dyconv_mobilenetv2_{name}_4x': functools.partial(dyconv_mobilenetv2, width=_WIDTHS[name], num_kernels=4)
        for name in ('050', '100')
    }
    | {'condconv_mobilenetv2_100_8x': functools.partial(condconv_mobilenetv2, width=1.0, num_kernels=8)}
)
