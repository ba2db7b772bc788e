"""torchvision's MobileNetV3, small and large: no layer in a block that does nothing, so keys shift."""

from functools import partial

import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors.mobilenet_v2 import divisible

# Kernel size, expanded channels, channels, squeezes, hardswish instead of ReLU, stride.
SMALL = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


def unit(inputs, outputs, size, stride=1, groups=1, act=nn.Hardswish):
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01), *([act()] if act else []))


class Squeeze(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = divisible(channels // 4)
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, size, middle, squeezes, act, stride):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.block = nn.Sequential(
            *([unit(inputs, middle, 1, act=act)] if middle != inputs else []),
            unit(middle, middle, size, stride, middle, act),
            *([Squeeze(middle)] if squeezes else []),
            unit(middle, outputs, 1, act=None),
        )

    def forward(self, x):
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    def __init__(self, rows, last, num_classes=1000, width_mult=1.0, dropout=0.2):
        super().__init__()
        width = divisible(16 * width_mult)
        layers = [unit(3, width, 3, 2)]
        for size, middle, channels, squeezes, hard, stride in rows:
            outputs, act = divisible(channels * width_mult), nn.Hardswish if hard else nn.ReLU
            layers.append(Block(width, outputs, size, divisible(middle * width_mult), squeezes, act, stride))
            width = outputs
        self.features = nn.Sequential(*layers, unit(width, 6 * width, 1))
        last = divisible(last * width_mult)
        head = (nn.Linear(6 * width, last), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(last, num_classes))
        self.classifier = nn.Sequential(*head)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


mobilenet_v3_small = partial(MobileNetV3, SMALL, 1024)
mobilenet_v3_large = partial(MobileNetV3, LARGE, 1280)
