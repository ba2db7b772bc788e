"""detectron2's ResNets of bottlenecks with the stride in the first 1x1 convolution and frozen norms."""

from functools import partial

import torch
from torch import nn


class FrozenNorm(nn.Module):
    """Statistics and affine parameters are buffers, in training too; there is no counter of batches."""

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer('weight', torch.ones(channels))
        self.register_buffer('bias', torch.zeros(channels))
        self.register_buffer('running_mean', torch.zeros(channels))
        self.register_buffer('running_var', torch.ones(channels))

    def forward(self, x):
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class ConvNorm(nn.Conv2d):
    """A convolution that owns its norm."""

    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
        self.norm = FrozenNorm(outputs)

    def forward(self, x):
        return self.norm(super().forward(x))


class Block(nn.Module):
    def __init__(self, inputs, width, outputs, stride, stride_in_1x1):
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.shortcut = ConvNorm(inputs, outputs, 1, stride) if inputs != outputs else None
        self.conv1 = ConvNorm(inputs, width, 1, first)
        self.conv2 = ConvNorm(width, width, 3, second)
        self.conv3 = ConvNorm(width, outputs, 1)

    def forward(self, x):
        y = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Stem(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.conv1 = ConvNorm(3, outputs, 7, 2)

    def forward(self, x):
        return nn.functional.max_pool2d(torch.relu(self.conv1(x)), 3, 2, 1)


class ResNet(nn.Module):
    def __init__(
        self,
        sizes,
        stem_out_channels=64,
        res2_out_channels=256,
        stride_in_1x1=True,
        out_features=('res3', 'res4', 'res5'),
    ):
        super().__init__()
        self.out_features = out_features
        self.stem = Stem(stem_out_channels)
        inputs, outputs = stem_out_channels, res2_out_channels
        for stage, size in enumerate(sizes):
            strides = [2 if stage else 1] + [1] * (size - 1)
            blocks = []
            for stride in strides:
                blocks.append(Block(inputs, outputs // 4, outputs, stride, stride_in_1x1))
                inputs = outputs
            self.add_module(f'res{stage + 2}', nn.Sequential(*blocks))
            outputs *= 2
        self.stages = [f'res{stage + 2}' for stage in range(len(sizes))]

    def forward(self, x):
        x, maps = self.stem(x), []
        for name in self.stages:
            x = getattr(self, name)(x)
            if name in self.out_features:
                maps.append(x)
        return tuple(maps)


SIZES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
resnet50, resnet101 = (partial(ResNet, SIZES[depth]) for depth in (50, 101))
