"""Dynamic_conv1d, 2d and 3d with their attention, as kaijieshi7/Dynamic-convolution-Pytorch has them."""

import torch
from torch import nn

from tests.torch_mirrors import per_sample

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Attention(nn.Module):
    def __init__(self, ndim, inputs, ratio, kernels, temperature):
        super().__init__()
        hidden = kernels if inputs == 3 else int(inputs * ratio) + 1
        self.fc1 = _CONV[ndim](inputs, hidden, 1, bias=False)
        self.fc2 = _CONV[ndim](hidden, kernels, 1, bias=ndim < 3)
        self.temperature = temperature

    def forward(self, x):
        pooled = per_sample.mean_over_space(x).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
        return torch.softmax(self.fc2(torch.relu(self.fc1(pooled))).flatten(1) / self.temperature, dim=1)


class _DynamicConv(nn.Module):
    ndim = None

    def __init__(
        self,
        in_planes,
        out_planes,
        kernel_size,
        ratio=0.25,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        K=4,
        temperature=34,
        init_weight=True,
    ):
        super().__init__()
        self.settings = {'stride': stride, 'padding': padding, 'dilation': dilation, 'groups': groups}
        self.attention = Attention(self.ndim, in_planes, ratio, K, temperature)
        self.weight = nn.Parameter(torch.randn(K, out_planes, in_planes // groups, *(kernel_size,) * self.ndim))
        self.bias = nn.Parameter(torch.zeros(K, out_planes)) if bias else None

    def forward(self, x):
        attention = self.attention(x)
        kernel = torch.einsum('bk,k...->b...', attention, self.weight)
        bias = None if self.bias is None else attention @ self.bias
        return per_sample.conv(x, kernel, bias, **self.settings)


class DynamicConv1d(_DynamicConv):
    ndim = 1


class DynamicConv2d(_DynamicConv):
    ndim = 2


class DynamicConv3d(_DynamicConv):
    ndim = 3
