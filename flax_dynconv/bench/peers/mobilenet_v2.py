"""MobileNetV2 1.0 as torchvision and, with ODConv in all but the first convolution, OSVAI/ODConv have it."""

import torch.nn.functional as F
from torch import nn

from flax_dynconv.bench.peers.resnet18 import static

# Expansion, channels, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _unit(conv, inputs, outputs, size, stride=1, groups=1):
    layer = conv(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6())


class Block(nn.Module):
    """Expand, depthwise, project, and a shortcut where the shape stays."""

    def __init__(self, conv, inputs, outputs, stride, expansion):
        super().__init__()
        middle = inputs * expansion
        expand = [_unit(conv, inputs, middle, 1)] if expansion > 1 else []
        project = [conv(middle, outputs, 1), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*expand, _unit(conv, middle, middle, 3, stride, middle), *project)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        """(B, Cin, H, W) to (B, Cout, H', W')."""
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(nn.Module):
    """`conv` makes all convolutions but the first; the classifier has 1000 classes and no dropout."""

    def __init__(self, conv=static):
        super().__init__()
        layers, width = [_unit(static, 3, 32, 3, 2)], 32
        for expansion, outputs, blocks, stride in STAGES:
            for i in range(blocks):
                layers.append(Block(conv, width, outputs, 1 if i else stride, expansion))
                width = outputs
        self.layers, self.classifier = nn.Sequential(*layers, _unit(conv, width, 1280, 1)), nn.Linear(1280, 1000)

    def forward(self, x):
        """Images (B, 3, H, W) to logits."""
        return self.classifier(F.adaptive_avg_pool2d(self.layers(x), 1).flatten(1))
