"""CondConv without a reference's key names: banks (K, O, I, k, k), bias banks (K, O), and `routing_fn` of a block.

Every bank takes the routing (B, K); who owns a `routing_fn` (a Linear and a sigmoid) routes from its own input.
"""

from functools import partial

import torch
from torch import nn

from tests.torch_mirrors import per_sample
from tests.torch_mirrors.condconv import pad


class Routing(nn.Linear):
    """(B, C, *spatial) or (B, C) to (B, K): sigmoids of one linear layer."""

    def forward(self, x):
        return torch.sigmoid(super().forward(x if x.ndim == 2 else per_sample.mean_over_space(x)))


class BankConv2d(nn.Module):
    def __init__(self, inputs, outputs, size, stride=1, padding=0, dilation=1, groups=1, experts=8):
        super().__init__()
        self.size, self.padding = (size, size), padding
        self.settings = {'stride': (stride, stride), 'dilation': (dilation, dilation), 'groups': groups}
        self.weight = nn.Parameter(torch.randn(experts, outputs, inputs // groups, size, size) / size)

    def forward(self, x, routing):
        kernel = torch.einsum('bk,koiyx->boiyx', routing, self.weight)
        x, padding = pad(x, self.size, self.settings['stride'], self.settings['dilation'], self.padding)
        return per_sample.conv(x, kernel, padding=padding, **self.settings)


class RoutedLinear(nn.Module):
    """A classifier with a routing of its own: the mixed matrix and the mixed bias."""

    def __init__(self, inputs, outputs, experts=8):
        super().__init__()
        self.routing_fn = Routing(inputs, experts)
        self.weight = nn.Parameter(torch.randn(experts, outputs, inputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(experts, outputs))

    def forward(self, x):
        routing = self.routing_fn(x)
        return torch.einsum('bk,koi,bi->bo', routing, self.weight, x) + routing @ self.bias


def classifier(experts):
    """A constructor like nn.Linear; static without experts."""
    return partial(RoutedLinear, experts=experts) if experts else nn.Linear
