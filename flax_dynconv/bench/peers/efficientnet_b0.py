"""EfficientNet-B0 as timm's tf_efficientnet_b0 and, with four experts in three stages, tf_efficientnet_cc_b0_4e."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from flax_dynconv.bench.peers.dynamic_layers import CondConv2d, SameConv2d

# Expansion, kernel size, stride, blocks, channels, whether the experts are there.
STAGES = (
    (1, 3, 1, 1, 16, False), (6, 3, 2, 2, 24, False), (6, 5, 2, 2, 40, False), (6, 3, 2, 3, 80, False),
    (6, 5, 1, 3, 112, True), (6, 5, 2, 4, 192, True), (6, 3, 1, 1, 320, True),
)  # fmt: skip
norm = functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """Expand, depthwise, squeeze-and-excitation, project; one routing of the block where it has experts."""

    def __init__(self, inputs, outputs, size, stride, expansion, kernels):
        super().__init__()
        middle, squeezed = inputs * expansion, inputs // 4
        conv = functools.partial(CondConv2d, kernels=kernels) if kernels else SameConv2d
        self.routing = nn.Linear(inputs, kernels) if kernels else None
        self.expand, self.norm1 = (conv(inputs, middle, 1), norm(middle)) if expansion > 1 else (None, None)
        self.depthwise, self.norm2 = conv(middle, middle, size, stride, middle), norm(middle)
        self.squeeze, self.excite = nn.Conv2d(middle, squeezed, 1), nn.Conv2d(squeezed, middle, 1)
        self.project, self.norm3 = conv(middle, outputs, 1), norm(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        """(B, Cin, H, W) to (B, Cout, H', W')."""
        routing = None if self.routing is None else torch.sigmoid(self.routing(x.mean((2, 3))))
        y = x if self.expand is None else F.silu(self.norm1(self.expand(x, routing)))
        y = F.silu(self.norm2(self.depthwise(y, routing)))
        y = y * torch.sigmoid(self.excite(F.silu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        y = self.norm3(self.project(y, routing))
        return x + y if self.residual else y


class EfficientNetB0(nn.Module):
    """With `kernels` experts in the last three stages, 0 for the static network; 1000 classes, no dropout."""

    def __init__(self, kernels=0):
        super().__init__()
        self.stem, self.norm1, width, blocks = SameConv2d(3, 32, 3, 2), norm(32), 32, []
        for expansion, size, stride, count, outputs, dynamic in STAGES:
            for i in range(count):
                experts = kernels if dynamic else 0
                blocks.append(Block(width, outputs, size, 1 if i else stride, expansion, experts))
                width = outputs
        self.blocks, self.head, self.norm2 = nn.Sequential(*blocks), SameConv2d(320, 1280, 1), norm(1280)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x):
        """Images (B, 3, H, W) to logits."""
        x = self.blocks(F.silu(self.norm1(self.stem(x))))
        return self.classifier(F.silu(self.norm2(self.head(x))).mean((2, 3)))
