"""CondConv2d with timm's flattened bank of experts, routing given, and timm's names of paddings."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors import per_sample


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


class CondConv2d(nn.Module):
    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size=3,
        stride=1,
        padding='',
        dilation=1,
        groups=1,
        bias=False,
        num_experts=4,
    ):
        super().__init__()
        self.size, self.stride, self.dilation = _pair(kernel_size), _pair(stride), _pair(dilation)
        self.padding, self.groups = padding, groups
        self.shape = (out_channels, in_channels // groups, *self.size)
        count = out_channels * (in_channels // groups) * self.size[0] * self.size[1]
        self.weight = nn.Parameter(0.2 * torch.randn(num_experts, count))
        self.bias = nn.Parameter(0.1 * torch.randn(num_experts, out_channels)) if bias else None

    def forward(self, x, routing_weights):
        kernel = (routing_weights @ self.weight).reshape(len(x), *self.shape)
        bias = None if self.bias is None else routing_weights @ self.bias
        x, padding = pad(x, self.size, self.stride, self.dilation, self.padding)
        settings = {'stride': self.stride, 'padding': padding, 'dilation': self.dilation, 'groups': self.groups}
        return per_sample.conv(x, kernel, bias, **settings)


def pad(x, sizes, strides, dilations, padding):
    """The input and what is left to pad: TensorFlow's 'same' depends on the input's size."""
    spans = list(zip(sizes, strides, dilations, strict=True))
    if padding == '':
        return x, tuple(((s - 1) + d * (k - 1)) // 2 for k, s, d in spans)
    if padding == 'valid':
        return x, 0
    if padding != 'same':
        return x, padding
    amounts = []
    for length, (k, s, d) in zip(x.shape[2:], spans, strict=True):
        total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
        amounts = [total // 2, total - total // 2, *amounts]  # F.pad begins with the last axis
    return F.pad(x, amounts), 0
