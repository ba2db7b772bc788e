"""Three community modules: a DyNet with a softmax, an ODConv of linear layers, and ODConv shaped Conv-BN-SiLU."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors import per_sample
from tests.torch_mirrors.odconv import Attention, ODConv2d


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


class _PaddedConv(nn.Module):
    """Stride, padding with its mode, dilation, groups and a static bias."""

    def __init__(self, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode):
        super().__init__()
        self.size, self.padding_mode = _pair(kernel_size), padding_mode
        self.settings = {'stride': stride, 'dilation': dilation, 'groups': groups}
        spans = [d * (k - 1) for k, d in zip(self.size, _pair(dilation), strict=True)]
        if padding == 'same':
            self.amounts = [n for s in reversed(spans) for n in (s // 2, s - s // 2)]
        else:
            self.amounts = [n for p in reversed(_pair(0 if padding == 'valid' else padding)) for n in (p, p)]
        self.bias = nn.Parameter(0.1 * torch.randn(out_channels)) if bias else None

    def convolve(self, x, kernel):
        x = F.pad(x, self.amounts, mode='constant' if self.padding_mode == 'zeros' else self.padding_mode)
        y = per_sample.conv(x, kernel, **self.settings)
        return y if self.bias is None else y + self.bias[:, None, None]


class _Coefficients(nn.Module):
    def __init__(self, inputs, kernels, outputs, rate):
        super().__init__()
        self.kernels, self.dropout = kernels, nn.Dropout(rate)
        self.fc = nn.Linear(inputs, kernels * outputs)

    def forward(self, x):
        logits = self.fc(self.dropout(per_sample.mean_over_space(x)))
        return torch.softmax(logits.reshape(len(x), self.kernels, -1), dim=1)


class DyNet2D(_PaddedConv):
    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode='zeros',
        num_experts=3,
        dropout_rate=0.2,
    ):
        super().__init__(out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        self._coefficient_fn = _Coefficients(in_channels, num_experts, out_channels, dropout_rate)
        self.weight = nn.Parameter(0.2 * torch.randn(num_experts, out_channels, in_channels // groups, *self.size))

    def forward(self, x):
        return self.convolve(x, torch.einsum('bko,koiyx->boiyx', self._coefficient_fn(x), self.weight))


class _FourAttentions(nn.Module):
    def __init__(self, inputs, outputs, size, kernels, r):
        super().__init__()
        self.relu = nn.ReLU()  # there, and never applied
        self.fc = nn.Linear(inputs, inputs // r)
        self.fc_as = nn.Linear(inputs // r, size * size)
        self.fc_ac = nn.Linear(inputs // r, inputs)
        self.fc_af = nn.Linear(inputs // r, outputs)
        self.fc_an = nn.Linear(inputs // r, kernels)

    def forward(self, x):
        h = self.fc(per_sample.mean_over_space(x))
        gates = (torch.sigmoid(head(h)) for head in (self.fc_as, self.fc_ac, self.fc_af))
        return *gates, torch.softmax(self.fc_an(h), dim=1)


class ODConv2D(_PaddedConv):
    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode='zeros',
        K=3,
        r=4,
        dropout_rate=0.2,
    ):
        super().__init__(out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        self._attention_fn = _FourAttentions(in_channels, out_channels, self.size[0], K, r)
        self.weight = nn.Parameter(0.5 * torch.randn(K, out_channels, in_channels, *self.size))

    def forward(self, x):
        taps, channel, filters, kernel = self._attention_fn(x)
        taps = taps.reshape(len(x), *self.size)
        return self.convolve(x, torch.einsum('bk,bo,bi,byx,koiyx->boiyx', kernel, filters, channel, taps, self.weight))


class _ConvNorm(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)


class _YoloAttention(Attention):
    def __init__(self, inputs, *arguments):
        super().__init__(inputs, *arguments)
        del self.bn
        self.fc = _ConvNorm(inputs, self.channel_fc.in_channels)

    def stem(self, pooled):
        return torch.relu(self.fc.bn(self.fc.conv(pooled)))


class YOLOODConv2d(ODConv2d):
    def __init__(
        self,
        in_planes,
        out_planes,
        k,
        s=1,
        p=None,
        g=1,
        act=True,
        d=1,
        reduction=0.0625,
        kernel_num=1,
    ):
        padding = k // 2 if p is None else p
        super().__init__(in_planes, out_planes, k, s, padding, d, g, reduction, kernel_num)
        self.bn = nn.BatchNorm2d(out_planes)
        self.act = nn.SiLU() if act is True else act if isinstance(act, nn.Module) else nn.Identity()

    def make_attention(self, *arguments):
        return _YoloAttention(*arguments)

    def forward(self, x):
        return self.act(self.bn(super().forward(x)))
