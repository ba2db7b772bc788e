"""torchvision's ShuffleNetV2 of widths 1 and 1.5."""

from functools import partial

import torch
from torch import nn

WIDTHS = {'0.5': (24, 48, 96, 192, 1024), '1.0': (24, 116, 232, 464, 1024), '1.5': (24, 176, 352, 704, 1024)}


def pointwise(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def depthwise(channels, stride):
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)


def shuffle(x, groups=2):
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class Block(nn.Module):
    """One that halves the map sends all channels through both branches, another keeps the first half as it is."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half = outputs // 2
        self.halves = stride > 1
        self.branch1 = nn.Sequential(*(depthwise(inputs, stride) + pointwise(inputs, half) if self.halves else ()))
        wide = inputs if self.halves else half
        self.branch2 = nn.Sequential(*pointwise(wide, half), *depthwise(half, stride), *pointwise(half, half))

    def forward(self, x):
        left, right = (self.branch1(x), x) if self.halves else x.chunk(2, 1)
        return shuffle(torch.cat((left, self.branch2(right)), 1))


class ShuffleNetV2(nn.Module):
    def __init__(self, widths, num_classes=1000):
        super().__init__()
        stem, *stages, last = widths
        self.conv1 = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for s, (inputs, outputs, blocks) in enumerate(zip(widths, stages, (4, 8, 4), strict=False), 2):
            rest = [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
            setattr(self, f'stage{s}', nn.Sequential(Block(inputs, outputs, 2), *rest))
        self.conv5 = nn.Sequential(*pointwise(stages[-1], last))
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x):
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean((2, 3)))


shufflenet_v2_x0_5, shufflenet_v2_x1_0, shufflenet_v2_x1_5 = (partial(ShuffleNetV2, w) for w in WIDTHS.values())
