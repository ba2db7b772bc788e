"""timm's tf_efficientnet_cc_* and their static twins: three last stages of CondConv, TensorFlow's padding, epsilon."""

import math
from functools import partial

import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors.inverted_residual import CondConvResidual, Conv2d, Separable

# Blocks, kernel size, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNet(nn.Module):
    def __init__(
        self,
        num_classes=1000,
        in_chans=3,
        drop_rate=0.0,
        drop_path_rate=0.0,
        bn_eps=1e-3,
        bn_momentum=0.1,
        output_stride=32,
        pad_type='same',
        *,
        depth=1.0,
        experts=0,
    ):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=bn_eps, momentum=bn_momentum)
        self.drop_rate = drop_rate
        self.conv_stem = Conv2d(in_chans, 32, 3, 2, pad_type)
        self.bn1 = norm(32)
        repeats = [math.ceil(depth * row[0]) for row in STAGES]
        width, done, reached, dilation, stages = 32, 0, 2, 1, []
        for s, (_, size, stride, expansion, channels) in enumerate(STAGES):
            before = dilation
            if reached * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reached, blocks = reached * stride, []
            for i in range(repeats[s]):
                drop = drop_path_rate * done / sum(repeats)
                place = (width, channels, size, 1 if i else stride, dilation if i else before, pad_type)
                if expansion == 1:
                    blocks.append(Separable(*place, norm, drop))
                else:
                    own = {'exp_ratio': expansion, 'num_experts': experts if s > 3 else 0, 'act': 'SiLU', 'se': 0.25}
                    own |= {'bn_eps': bn_eps, 'bn_momentum': bn_momentum, 'drop_path_rate': drop}
                    blocks.append(CondConvResidual(*place, **own))
                width, done = channels, done + 1
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = Conv2d(width, 1280, 1)
        self.bn2 = norm(1280)
        self.classifier = nn.Linear(1280, num_classes)

    def forward(self, x):
        x = self.blocks(F.silu(self.bn1(self.conv_stem(x))))
        x = F.silu(self.bn2(self.conv_head(x))).mean((2, 3))
        return self.classifier(F.dropout(x, self.drop_rate, self.training))


tf_efficientnet_b0 = EfficientNet
tf_efficientnet_b1 = partial(EfficientNet, depth=1.1)
tf_efficientnet_cc_b0_4e = partial(EfficientNet, experts=4)
tf_efficientnet_cc_b0_8e = partial(EfficientNet, experts=8)
tf_efficientnet_cc_b1_8e = partial(EfficientNet, depth=1.1, experts=8)
