"""ResNet-18 as torchvision and, with ODConv in its blocks, OSVAI/ODConv have it; a classifier of 1000 classes."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

static = functools.partial(nn.Conv2d, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, conv, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(static(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """(B, Cin, H, W) to (B, Cout, H', W')."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet18(nn.Module):
    """`conv` makes the convolutions of the blocks; stem, shortcuts and classifier are static."""

    def __init__(self, conv=static):
        super().__init__()
        self.stem = nn.Sequential(
            static(3, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = [(64, 64), (64, 128), (128, 256), (256, 512)]
        blocks = [b for i, o in widths for b in (Block(conv, i, o, 1 if i == o else 2), Block(conv, o, o, 1))]
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(512, 1000)

    def forward(self, x):
        """Images (B, 3, H, W) to logits."""
        return self.fc(F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1).flatten(1))
