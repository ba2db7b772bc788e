"""MobileNetV3 small and large (Howard et al., ICCV 2019) and DY-CNN's form of the small one."""

import functools

from flax import linen as nn

from flax_dynconv.layers import DynamicConv
from flax_dynconv.models._construct import construct
from flax_dynconv.models.mobile import MobileNet, Stage
from flax_dynconv.models.network import batch_norm

# (kernel size, expanded channels, channels, squeeze-and-excitation, activation, stride): the paper's tables 1 and 2.
_LARGE = (
    (3, 16, 16, False, nn.relu, 1),
    (3, 64, 24, False, nn.relu, 2),
    (3, 72, 24, False, nn.relu, 1),
    (5, 72, 40, True, nn.relu, 2),
    (5, 120, 40, True, nn.relu, 1),
    (5, 120, 40, True, nn.relu, 1),
    (3, 240, 80, False, nn.hard_swish, 2),
    (3, 200, 80, False, nn.hard_swish, 1),
    (3, 184, 80, False, nn.hard_swish, 1),
    (3, 184, 80, False, nn.hard_swish, 1),
    (3, 480, 112, True, nn.hard_swish, 1),
    (3, 672, 112, True, nn.hard_swish, 1),
    (5, 672, 160, True, nn.hard_swish, 2),
    (5, 960, 160, True, nn.hard_swish, 1),
    (5, 960, 160, True, nn.hard_swish, 1),
)
_SMALL = (
    (3, 16, 16, True, nn.relu, 2),
    (3, 72, 24, False, nn.relu, 2),
    (3, 88, 24, False, nn.relu, 1),
    (5, 96, 40, True, nn.hard_swish, 2),
    (5, 240, 40, True, nn.hard_swish, 1),
    (5, 240, 40, True, nn.hard_swish, 1),
    (5, 120, 48, True, nn.hard_swish, 1),
    (5, 144, 48, True, nn.hard_swish, 1),
    (5, 288, 96, True, nn.hard_swish, 2),
    (5, 576, 96, True, nn.hard_swish, 1),
    (5, 576, 96, True, nn.hard_swish, 1),
)
# 0.99 of the running statistics is kept and eps is 1e-3, as in torchvision and TensorFlow.
_norm = functools.partial(batch_norm, momentum=0.99, epsilon=1e-3)


def _mobilenetv3(rows, head, hidden, fields):
    stages = tuple(
        Stage(features, 1, stride, size, expanded=expanded, squeeze=0.25 if squeeze else 0.0, act=act)
        for size, expanded, features, squeeze, act, stride in rows
    )
    settings = {
        'stages': stages,
        'stem_features': 16,
        'head_features': head,
        'hidden_features': hidden,
        'head_scales': 'always',
        'norm': _norm,
        'act': nn.hard_swish,
        'squeeze_act': nn.relu,
        'gate': nn.hard_sigmoid,
        'squeeze_of_expanded': True,
    }
    return construct(MobileNet, {**settings, **fields})


def mobilenetv3_large(**fields):
    """MobileNetV3-Large; `fields` are `MobileNet`'s own. TypeError for one that it has not.

    >>> len(mobilenetv3_large(num_classes=10).stages)
    15

    Source: Howard et al., "Searching for MobileNetV3" (ICCV 2019); as torchvision's `mobilenet_v3_large`.
    """
    return _mobilenetv3(_LARGE, 960, 1280, fields)


def mobilenetv3_small(**fields):
    """MobileNetV3-Small; `fields` are `MobileNet`'s own. TypeError for one that it has not.

    >>> mobilenetv3_small(width=0.75, num_classes=10).feature_strides
    (2, 4, 8, 16, 32)

    Source: Howard et al., "Searching for MobileNetV3" (ICCV 2019); as torchvision's `mobilenet_v3_small`.
    """
    return _mobilenetv3(_SMALL, 576, 1024, fields)


def dyconv_mobilenetv3_small(*, num_kernels=4, reduction=0.25, **fields):
    """DY-CNN's MobileNetV3-Small: all convolutions but the first are DynamicConv; the linear layers are static.

    Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels" (CVPR 2020), section 5; attention as
    in kaijieshi7/Dynamic-convolution-Pytorch, no code of the network was published.

    >>> dyconv_mobilenetv3_small().head_conv.func.__name__
    'DynamicConv'
    """
    conv = functools.partial(DynamicConv, num_kernels=num_kernels, reduction=reduction)
    return mobilenetv3_small(**{'conv': conv, 'head_conv': conv, **fields})


MOBILENETS_V3 = {
    'mobilenetv3_small': mobilenetv3_small,
    'mobilenetv3_large': mobilenetv3_large,
    'dyconv_mobilenetv3_small_4x': functools.partial(dyconv_mobilenetv3_small, num_kernels=4),
}
