"""timm's tf_efficientnet_cc_* and their static twins: three last stages of CondConv, TensorFlow's padding, epsilon."""

import math
from functools import partial

import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors.inverted_residual import CondConvResidual, Conv2d, Separable
from tests.torch_mirrors.mobilenet_v2 import divisible

# Blocks, kernel size, stride of the first block, expansion, channels, squeeze.
STAGES = (
    (1, 3, 1, 1, 16, 0.25),
    (2, 3, 2, 6, 24, 0.25),
    (2, 5, 2, 6, 40, 0.25),
    (3, 3, 2, 6, 80, 0.25),
    (3, 5, 1, 6, 112, 0.25),
    (4, 5, 2, 6, 192, 0.25),
    (1, 3, 1, 6, 320, 0.25),
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
        width=1.0,
        head=1280,
        experts=0,
        stages=STAGES,
        act='SiLU',
        classifier=nn.Linear,
    ):
        super().__init__()
        norm = {'bn_eps': bn_eps, 'bn_momentum': bn_momentum}
        make_norm = partial(nn.BatchNorm2d, eps=bn_eps, momentum=bn_momentum)
        self.drop_rate, self.act = drop_rate, getattr(nn, act)()
        inputs = divisible(32 * width)
        self.conv_stem = Conv2d(in_chans, inputs, 3, 2, pad_type)
        self.bn1 = make_norm(inputs)
        repeats = [math.ceil(depth * row[0]) for row in stages]
        done, reached, dilation, built = 0, 2, 1, []
        for s, (_, size, stride, expansion, channels, squeeze) in enumerate(stages):
            before, outputs = dilation, divisible(channels * width)
            if reached * stride > output_stride:
                dilation, stride = dilation * stride, 1
            reached, blocks = reached * stride, []
            for i in range(repeats[s]):
                place = (inputs, outputs, size, 1 if i else stride, dilation if i else before, pad_type)
                own = {'act': act, 'se': squeeze, 'drop_path_rate': drop_path_rate * done / sum(repeats), **norm}
                if expansion == 1:
                    blocks.append(Separable(*place, **own))
                else:
                    kernels = experts if s >= len(stages) - 3 else 0
                    blocks.append(CondConvResidual(*place, exp_ratio=expansion, num_experts=kernels, **own))
                inputs, done = outputs, done + 1
            built.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*built)
        self.conv_head = Conv2d(inputs, head, 1)
        self.bn2 = make_norm(head)
        self.classifier = classifier(head, num_classes)

    def forward(self, x):
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        x = self.act(self.bn2(self.conv_head(x))).mean((2, 3))
        return self.classifier(F.dropout(x, self.drop_rate, self.training))


tf_efficientnet_b0 = EfficientNet
tf_efficientnet_b1 = partial(EfficientNet, depth=1.1)
tf_efficientnet_cc_b0_4e = partial(EfficientNet, experts=4)
tf_efficientnet_cc_b0_8e = partial(EfficientNet, experts=8)
tf_efficientnet_cc_b1_8e = partial(EfficientNet, depth=1.1, experts=8)
