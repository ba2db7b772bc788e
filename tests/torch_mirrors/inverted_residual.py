"""timm's blocks of EfficientNet: depthwise separable, inverted residual, and the latter with CondConv."""

import re

import torch
import torch.nn.functional as F
from torch import nn

from tests.torch_mirrors.condconv import CondConv2d, pad
from tests.torch_mirrors.mobilenet_v2 import divisible


class Conv2d(nn.Conv2d):
    """Static, without a bias, with timm's names of paddings."""

    def __init__(self, inputs, outputs, size, stride=1, padding='', dilation=1, groups=1):
        super().__init__(inputs, outputs, size, stride, 0, dilation, groups, bias=False)
        self.kind = padding

    def forward(self, x):
        x, padding = pad(x, self.kernel_size, self.stride, self.dilation, self.kind)
        return F.conv2d(x, self.weight, None, self.stride, padding, self.dilation, self.groups)


class Squeeze(nn.Module):
    def __init__(self, channels, hidden, act):
        super().__init__()
        self.act = act
        self.conv_reduce = nn.Conv2d(channels, hidden, 1)
        self.conv_expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.conv_expand(self.act(self.conv_reduce(means))))


class _Block(nn.Module):
    """What the blocks share: their settings, the squeeze, the shortcut with stochastic depth."""

    def __init__(self, in_chs, out_chs, stride, noskip, act, se, drop_path_rate):
        super().__init__()
        self.skips = in_chs == out_chs and stride == 1 and not noskip
        self.act, self.drop = getattr(nn, act)(), drop_path_rate
        self.hidden = 0 if se is None else round(in_chs * _ratio(se))

    def squeeze(self, channels):
        return Squeeze(channels, self.hidden, self.act) if self.hidden else nn.Identity()

    def add(self, x, y):
        if not self.skips:
            return y
        if self.drop and self.training:
            kept = 1 - self.drop
            y = y * torch.bernoulli(torch.full((len(y), 1, 1, 1), kept, dtype=y.dtype)) / kept
        return x + y


class Separable(_Block):
    def __init__(
        self,
        in_chs,
        out_chs,
        dw_kernel_size=3,
        stride=1,
        dilation=1,
        pad_type='',
        noskip=False,
        act='ReLU',
        bn_eps=1e-5,
        bn_momentum=0.1,
        se=None,
        drop_path_rate=0.0,
    ):
        super().__init__(in_chs, out_chs, stride, noskip, act, se, drop_path_rate)
        self.conv_dw = Conv2d(in_chs, in_chs, dw_kernel_size, stride, pad_type, dilation, in_chs)
        self.bn1 = nn.BatchNorm2d(in_chs, bn_eps, bn_momentum)
        self.se = self.squeeze(in_chs)
        self.conv_pw = Conv2d(in_chs, out_chs, 1, padding=pad_type)
        self.bn2 = nn.BatchNorm2d(out_chs, bn_eps, bn_momentum)

    def forward(self, x):
        return self.add(x, self.bn2(self.conv_pw(self.se(self.act(self.bn1(self.conv_dw(x)))))))


class CondConvResidual(_Block):
    """An inverted residual whose three convolutions share a routing; without experts they are static."""

    def __init__(
        self,
        in_chs,
        out_chs,
        dw_kernel_size=3,
        stride=1,
        dilation=1,
        pad_type='',
        noskip=False,
        exp_ratio=1.0,
        num_experts=4,
        act='ReLU',
        bn_eps=1e-5,
        bn_momentum=0.1,
        se=None,
        drop_path_rate=0.0,
    ):
        super().__init__(in_chs, out_chs, stride, noskip, act, se, drop_path_rate)
        middle, self.experts = divisible(in_chs * exp_ratio), num_experts
        self.conv_pw = self.conv(in_chs, middle, 1, padding=pad_type)
        self.bn1 = nn.BatchNorm2d(middle, bn_eps, bn_momentum)
        self.conv_dw = self.conv(middle, middle, dw_kernel_size, stride, pad_type, dilation, middle)
        self.bn2 = nn.BatchNorm2d(middle, bn_eps, bn_momentum)
        self.se = self.squeeze(middle)
        self.conv_pwl = self.conv(middle, out_chs, 1, padding=pad_type)
        self.bn3 = nn.BatchNorm2d(out_chs, bn_eps, bn_momentum)
        self.routing_fn = nn.Linear(in_chs, num_experts) if num_experts else None

    def conv(self, *arguments, **settings):
        return (
            CondConv2d(*arguments, **settings, num_experts=self.experts)
            if self.experts
            else Conv2d(*arguments, **settings)
        )

    def forward(self, x):
        routing = [torch.sigmoid(self.routing_fn(x.mean((2, 3))))] if self.experts else []
        y = self.act(self.bn1(self.conv_pw(x, *routing)))
        y = self.se(self.act(self.bn2(self.conv_dw(y, *routing))))
        return self.add(x, self.bn3(self.conv_pwl(y, *routing)))


def _ratio(se):
    """A number, or timm's rule in words such as 'round(in_chs*0.25)'."""
    return float(re.search(r'in_chs\s*\*\s*([\d.]+)', se).group(1)) if isinstance(se, str) else se
