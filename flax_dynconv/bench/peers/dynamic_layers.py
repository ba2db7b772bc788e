"""ODConv and CondConv in PyTorch, the batch folded into groups, for speed: parameters and arithmetic of the codes.

Mixed by a matrix product, which is faster; with `broadcast=True` ODConv mixes as OSVAI/ODConv does.
"""

import torch
import torch.nn.functional as F
from torch import nn


def grouped_conv(x, kernel, stride, padding, groups):
    """y[b] = conv(x[b], kernel[b]), as one convolution of B * groups groups."""
    batch = len(x)
    y = F.conv2d(
        x.reshape(1, -1, *x.shape[2:]), kernel.reshape(-1, *kernel.shape[-3:]), None, stride, padding, 1, batch * groups
    )
    return y.view(batch, -1, *y.shape[2:])


class ODConv2d(nn.Module):
    """ODConv with all of its attentions; a 1x1 convolution of one kernel stays a static one between two scales."""

    def __init__(self, inputs, outputs, size, stride=1, padding=0, groups=1, kernels=4, broadcast=False):
        super().__init__()
        hidden = max(inputs // 16, 16)
        self.size, self.stride, self.padding, self.groups = size, stride, padding, groups
        self.broadcast = broadcast
        self.fc, self.bn = nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
        self.channel = nn.Conv2d(hidden, inputs, 1)
        self.filter = None if inputs == groups == outputs else nn.Conv2d(hidden, outputs, 1)
        self.spatial = None if size == 1 else nn.Conv2d(hidden, size * size, 1)
        self.kernel = None if kernels == 1 else nn.Conv2d(hidden, kernels, 1)
        self.weight = nn.Parameter(torch.empty(kernels, outputs, inputs // groups, size, size))
        for bank in self.weight.data:
            nn.init.kaiming_normal_(bank, mode='fan_out', nonlinearity='relu')

    def forward(self, x):
        """(B, Cin, H, W) to (B, Cout, H', W')."""
        batch = len(x)
        hidden = torch.relu(self.bn(self.fc(F.adaptive_avg_pool2d(x, 1))))
        x = x * torch.sigmoid(self.channel(hidden))
        if self.kernel is None and self.spatial is None:
            y = F.conv2d(x, self.weight[0], None, self.stride, self.padding, 1, self.groups)
        else:
            y = grouped_conv(x, self.mixed(hidden, batch), self.stride, self.padding, self.groups)
        return y if self.filter is None else y * torch.sigmoid(self.filter(hidden))

    def mixed(self, hidden, batch):
        """The kernels of the samples: (B, Cout, Cin/g, k, k)."""
        bank, taps = self.weight, None
        if self.spatial is not None:
            taps = torch.sigmoid(self.spatial(hidden)).view(batch, 1, 1, self.size, self.size)
        if self.kernel is None:
            return taps * bank
        attention = torch.softmax(self.kernel(hidden).view(batch, -1), 1)
        if self.broadcast:
            factors = attention[:, :, None, None, None, None]
            return ((factors if taps is None else taps[:, None] * factors) * bank).sum(1)
        mixed = torch.matmul(attention, bank.view(len(bank), -1)).view(batch, *bank.shape[1:])
        return mixed if taps is None else taps * mixed


class CondConv2d(nn.Module):
    """A bank of experts as a matrix, mixed with a routing that the block gives; padding as TensorFlow's."""

    def __init__(self, inputs, outputs, size, stride=1, groups=1, kernels=4):
        super().__init__()
        self.shape, self.size, self.stride, self.groups = (outputs, inputs // groups, size, size), size, stride, groups
        self.weight = nn.Parameter(
            torch.empty(kernels, outputs, *self.shape[1:]).normal_(0, (2 / outputs) ** 0.5 / size)
        )
        self.weight.data = self.weight.data.flatten(1)

    def forward(self, x, routing):
        """x (B, Cin, H, W) and routing (B, K) to (B, Cout, H', W')."""
        kernel = torch.matmul(routing, self.weight).view(len(x), *self.shape)
        x, padding = same(x, self.size, self.stride)
        return grouped_conv(x, kernel, self.stride, padding, self.groups)


class SameConv2d(nn.Conv2d):
    """A static convolution with TensorFlow's padding; takes and ignores a routing."""

    def __init__(self, inputs, outputs, size, stride=1, groups=1):
        super().__init__(inputs, outputs, size, stride, groups=groups, bias=False)

    def forward(self, x, routing=None):
        """(B, Cin, H, W) to (B, Cout, H', W')."""
        x, padding = same(x, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, self.weight, None, self.stride, padding, 1, self.groups)


def same(x, size, stride):
    """x and the padding that is left to the convolution: uneven amounts are padded before."""
    amounts = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
    if all(amount % 2 == 0 for amount in amounts):
        return x, tuple(amount // 2 for amount in amounts)
    (top, left), (height, width) = (a // 2 for a in amounts), amounts
    return F.pad(x, (left, width - left, top, height - top)), 0
