"""MobileNetV2 whose six last blocks and classifier are CondConv, routed once per block; the last 1x1 is static.

Keys as torchvision's, with banks (K, O, I/g, k, k), `features.N.routing_fn.{weight,bias}`, `classifier.1.weight`
(K, classes, C), `classifier.1.bias` (K, classes) and `classifier.1.routing_fn.{weight,bias}`.
"""

from functools import partial

from torch import nn

from tests.torch_mirrors.mobilenet_v2 import Inverted, MobileNetV2
from tests.torch_mirrors.routed import BankConv2d, Routing, classifier


class RoutedInverted(Inverted):
    def __init__(self, inputs, outputs, stride, expansion, experts):
        super().__init__(partial(BankConv2d, experts=experts), inputs, outputs, stride, expansion)
        self.routing_fn = Routing(inputs, experts)

    def forward(self, x):
        routing, y = self.routing_fn(x), x
        for layer in (m for m in self.conv.modules() if not isinstance(m, nn.Sequential)):
            y = layer(y, routing) if isinstance(layer, BankConv2d) else layer(y)
        return x + y if self.residual else y


def condconv_mobilenet_v2(num_classes=1000, width_mult=1.0, dropout=0.2, experts=8):
    net = MobileNetV2(num_classes, width_mult, dropout)
    # Blocks 12 to 17: the expansion is 6 in all of them.
    for n in range(12, 18):
        first, last = net.features[n].conv[0][0], net.features[n].conv[2]
        sizes = (first.in_channels, last.out_channels, net.features[n].conv[1][0].stride[0])
        net.features[n] = RoutedInverted(*sizes, 6, experts)
    net.classifier[1] = classifier(experts)(net.classifier[1].in_features, num_classes)
    return net
