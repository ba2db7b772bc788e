"""MnasNet-A1, static as timm's semnasnet_100, or with CondConv in the three last stages and in the classifier.

Keys as timm's, the banks of the blocks flattened (K, O*I/g*k*k) as there; `classifier.weight` (K, classes, C),
`classifier.bias` (K, classes), `classifier.routing_fn.*`.
"""

from tests.torch_mirrors.efficientnet import EfficientNet
from tests.torch_mirrors.routed import classifier

STAGES = (
    (1, 3, 1, 1, 16, None),
    (2, 3, 2, 6, 24, None),
    (3, 5, 2, 3, 40, 0.25),
    (4, 3, 2, 6, 80, None),
    (2, 3, 1, 6, 112, 0.25),
    (3, 5, 2, 6, 160, 0.25),
    (1, 3, 1, 6, 320, None),
)


def mnasnet_a1(num_classes=1000, experts=0, pad_type='', bn_eps=1e-5, **settings):
    settings |= {'pad_type': pad_type, 'bn_eps': bn_eps, 'experts': experts, 'act': 'ReLU', 'stages': STAGES}
    return EfficientNet(num_classes, classifier=classifier(experts), **settings)
