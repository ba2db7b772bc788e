"""ResNets whose three last blocks and classifier are CondConv, routed once per block; the shortcuts are static.

Keys as torchvision's, with `layerN.M.convJ.weight` (K, O, I, k, k), `layerN.M.routing_fn.{weight,bias}`, `fc.weight`
(K, classes, C), `fc.bias` (K, classes) and `fc.routing_fn.{weight,bias}`.
"""

from functools import partial

from tests.torch_mirrors.resnet import LAYOUTS, ResNet
from tests.torch_mirrors.routed import BankConv2d, Routing, classifier


def _routed(block):
    class Routed(block):
        def __init__(self, inputs, *arguments, experts, **settings):
            super().__init__(inputs, *arguments, conv=partial(BankConv2d, experts=experts), **settings)
            self.routing_fn = Routing(inputs, experts)

        def forward(self, x):
            return super().forward(x, ((self.routing_fn(x),),) * 3)

    return Routed


def condconv_resnet(depth=18, num_classes=1000, dropout=0.0, experts=8, base=64):
    block, sizes = LAYOUTS[depth]
    net = ResNet(block, sizes, num_classes, dropout=dropout, stem=base, base=base)
    # One in the third stage and two in the fourth, or as many as the fourth has.
    places = [(s, b) for s, size in enumerate(sizes) for b in range(size)][-3:]
    for s, b in places:
        planes, stage = base * 2**s, getattr(net, f'layer{s + 1}')
        inputs = planes * block.expansion if b else base * 2 ** (s - 1) * block.expansion
        stage[b] = _routed(block)(inputs, planes, 1 if b else 2, experts=experts)
    net.fc = classifier(experts)(base * 8 * block.expansion, num_classes)
    return net


condconv_resnet18, condconv_resnet50 = (partial(condconv_resnet, depth) for depth in (18, 50))
