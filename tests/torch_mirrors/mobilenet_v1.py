"""MobileNetV1, static or with CondConv from the sixth separable block on and in the classifier.

Keys: `stem.weight`, `stem_bn.*`, `blocks.N.{dw.weight,bn1.*,pw.weight,bn2.*}`, `classifier.*`; a CondConv block has
banks (K, O, I/g, k, k) and one `routing_fn.{weight,bias}` for its two convolutions, the classifier one of its own.
"""

from torch import nn

from tests.torch_mirrors.inverted_residual import Conv2d
from tests.torch_mirrors.mobilenet_v2 import divisible
from tests.torch_mirrors.routed import BankConv2d, Routing, classifier

# Channels and stride.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class Separable(nn.Module):
    def __init__(self, inputs, outputs, stride, experts, pad_type, norm, act):
        super().__init__()
        kind, own = (BankConv2d, {'experts': experts}) if experts else (Conv2d, {})
        self.dw = kind(inputs, inputs, 3, stride, pad_type, groups=inputs, **own)
        self.bn1 = norm(inputs)
        self.pw = kind(inputs, outputs, 1, padding=pad_type, **own)
        self.bn2 = norm(outputs)
        self.act, self.routing_fn = act, Routing(inputs, experts) if experts else None

    def forward(self, x):
        routing = () if self.routing_fn is None else (self.routing_fn(x),)
        x = self.act(self.bn1(self.dw(x, *routing)))
        return self.act(self.bn2(self.pw(x, *routing)))


class MobileNetV1(nn.Module):
    def __init__(
        self,
        num_classes=1000,
        width=1.0,
        experts=0,
        first=5,
        dropout=0.0,
        pad_type='',
        bn_eps=1e-5,
        bn_momentum=0.1,
        act='ReLU',
    ):
        super().__init__()

        def norm(channels):
            return nn.BatchNorm2d(channels, bn_eps, bn_momentum)

        act, inputs, blocks = getattr(nn, act)(), divisible(32 * width), []
        self.act = act
        self.stem = Conv2d(3, inputs, 3, 2, pad_type)
        self.stem_bn = norm(inputs)
        for i, (channels, stride) in enumerate(BLOCKS):
            outputs = divisible(channels * width)
            blocks.append(Separable(inputs, outputs, stride, experts if i >= first else 0, pad_type, norm, act))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier(experts)(inputs, num_classes)

    def forward(self, x):
        x = self.blocks(self.act(self.stem_bn(self.stem(x))))
        return self.classifier(self.dropout(x.mean((2, 3))))
