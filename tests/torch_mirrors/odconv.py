"""ODConv2d with its Attention, as OSVAI/ODConv stores and computes them."""

import torch
from torch import nn

from tests.torch_mirrors import per_sample


class Attention(nn.Module):
    def __init__(self, inputs, outputs, size, groups=1, reduction=0.0625, kernels=4, least=16):
        super().__init__()
        hidden = max(int(inputs * reduction), least)
        self.size, self.temperature = size, 1.0
        self.fc = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn = nn.BatchNorm2d(hidden)
        self.channel_fc = nn.Conv2d(hidden, inputs, 1)
        self.filter_fc = None if inputs == groups == outputs else nn.Conv2d(hidden, outputs, 1)
        self.spatial_fc = None if size == 1 else nn.Conv2d(hidden, size * size, 1)
        self.kernel_fc = None if kernels == 1 else nn.Conv2d(hidden, kernels, 1)

    def update_temperature(self, temperature):
        self.temperature = temperature

    def stem(self, pooled):
        return torch.relu(self.bn(self.fc(pooled)))

    def forward(self, x):
        """Channel (B, Cin, 1, 1), filter (B, Cout, 1, 1), spatial (B, 1, 1, k, k), or 1.0; kernel (B, K)."""
        h = self.stem(per_sample.mean_over_space(x)[..., None, None])
        logits = [head and head(h) / self.temperature for head in (self.channel_fc, self.filter_fc, self.spatial_fc)]
        channel, filters, taps = (1.0 if z is None else torch.sigmoid(z) for z in logits)
        if self.spatial_fc is not None:
            taps = taps.reshape(-1, 1, 1, self.size, self.size)
        kernel = h.new_ones(len(h), 1)
        if self.kernel_fc is not None:
            kernel = torch.softmax(self.kernel_fc(h).flatten(1) / self.temperature, dim=1)
        return channel, filters, taps, kernel


class ODConv2d(nn.Module):
    def __init__(
        self,
        in_planes,
        out_planes,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        reduction=0.0625,
        kernel_num=4,
    ):
        super().__init__()
        self.settings = {'stride': stride, 'padding': padding, 'dilation': dilation, 'groups': groups}
        self.attention = self.make_attention(in_planes, out_planes, kernel_size, groups, reduction, kernel_num)
        shape = (kernel_num, out_planes, in_planes // groups, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape) * (2 / (out_planes * kernel_size**2)) ** 0.5)

    def make_attention(self, *arguments):
        return Attention(*arguments)

    def forward(self, x):
        channel, filters, taps, kernel = self.attention(x)
        mixed = taps * torch.tensordot(kernel, self.weight, dims=1)
        return filters * per_sample.conv(x * channel, mixed, **self.settings)
