"""DyNet's convolutions in training form, its Dy-mobile and its ResNets with half the channels in the blocks.

Keys: `convJ.weight` (Cout * g, Cin / groups, k, k), t-major, and for a block `coefficients.out.{weight,bias}` with the
outputs of its convolutions one after the other, each t-major; two layers add `coefficients.hidden.{weight,bias}`.
Dy-mobile: `stem.*`, `stem_bn.*`, `blocks.N.{conv1,bn1,conv2,bn2,conv3,bn3}`, `head.*`, `head_bn.*`, `classifier.*`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors import per_sample
from tests.torch_mirrors.mobilenet_v2 import SETTINGS
from tests.torch_mirrors.resnet import LAYOUTS, ResNet, static


class DyConv2d(nn.Conv2d):
    """One static convolution with g outputs for every output channel, which the coefficients (B, Cout, g) mix."""

    def __init__(self, inputs, outputs, size, group_size=6, **settings):
        super().__init__(inputs, outputs * group_size, size, bias=False, **settings)

    def forward(self, x, coefficients):
        y = super().forward(x).unflatten(1, coefficients.shape[1:])
        return (y * coefficients[..., None, None]).sum(2)


class Coefficients(nn.Module):
    """(B, C, H, W) to a (B, Cout, g) for each convolution, routing as `Basic` and `Bottle` take it."""

    def __init__(self, inputs, outputs, group_size=6, hidden=None):
        super().__init__()
        self.outputs, self.group_size = outputs, group_size
        self.hidden = nn.Linear(inputs, hidden) if hidden else None
        self.out = nn.Linear(hidden or inputs, sum(outputs) * group_size)

    def forward(self, x):
        x = per_sample.mean_over_space(x)
        x = x if self.hidden is None else F.relu(self.hidden(x))
        values = torch.sigmoid(self.out(x)).unflatten(1, (-1, self.group_size))
        return [(part,) for part in values.split(self.outputs, 1)]


class DyMobileBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, group_size):
        super().__init__()
        conv, self.residual = partial(DyConv2d, group_size=group_size), stride == 1 and inputs == outputs
        self.conv1, self.bn1 = conv(inputs, outputs, 1), nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3, stride=stride, padding=1, groups=outputs // 6)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv3, self.bn3 = conv(outputs, outputs, 1), nn.BatchNorm2d(outputs)
        self.coefficients = Coefficients(inputs, (outputs,) * 3, group_size)

    def forward(self, x):
        (c1,), (c2,), (c3,) = self.coefficients(x)
        y = F.relu6(self.bn1(self.conv1(x, c1)))
        y = F.relu6(self.bn2(self.conv2(y, c2)))
        y = self.bn3(self.conv3(y, c3))
        return x + y if self.residual else y


class DyMobile(nn.Module):
    """MobileNetV2's rows without an expansion, channels enlarged to multiples of six."""

    def __init__(self, num_classes=1000, width=1.0, group_size=6, stem=32, head=1280, dropout=0.0):
        super().__init__()
        self.stem, self.stem_bn = static(3, stem, 3, stride=2, padding=1), nn.BatchNorm2d(stem)
        blocks, inputs = [], stem
        for _, channels, repeats, stride in SETTINGS:
            outputs = int(-(-channels * width // 6) * 6)
            for i in range(repeats):
                blocks.append(DyMobileBlock(inputs, outputs, 1 if i else stride, group_size))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head, self.head_bn = static(inputs, head, 1), nn.BatchNorm2d(head)
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Linear(head, num_classes)

    def forward(self, x):
        x = self.blocks(F.relu6(self.stem_bn(self.stem(x))))
        x = F.relu6(self.head_bn(self.head(x))).mean((2, 3))
        return self.classifier(self.dropout(x))


def _dynamic(block, group_size, **own):
    class Dynamic(block):
        def __init__(self, inputs, planes, *arguments, **settings):
            settings |= {'conv': partial(DyConv2d, group_size=group_size), **own}
            super().__init__(inputs, planes, *arguments, **settings)
            outputs = (planes, planes, planes * block.expansion)[-2 if block.expansion == 1 else -3 :]
            self.coefficients = Coefficients(inputs, outputs, group_size, max(1, inputs // 4))

        def forward(self, x):
            return super().forward(x, self.coefficients(x))

    return Dynamic


def dynet_resnet(depth=18, num_classes=1000, group_size=6, stem=64, base=32, stride_first=False):
    """Every block at half of ResNet's channels, so the network's width is half behind the stem; static shortcuts."""
    block, sizes = LAYOUTS[depth]
    own = {'stride_first': True} if stride_first else {}
    return ResNet(_dynamic(block, group_size, **own), sizes, num_classes, stem=stem, base=base)


dynet_resnet18, dynet_resnet50 = (partial(dynet_resnet, depth) for depth in (18, 50))
