"""kaijieshi7's ResNets: Dynamic_conv2d without a bias for every convolution of the blocks and of the shortcuts.

Every attention begins at the temperature of 34, which is in no state_dict; three less each epoch, down to 1.
"""

from functools import partial

from tests.torch_mirrors.dynconv import DynamicConv2d
from tests.torch_mirrors.resnet import LAYOUTS, ResNet


def _dy_resnet(depth, num_classes=1000):
    conv = partial(DynamicConv2d, bias=False)
    return ResNet(*LAYOUTS[depth], num_classes=num_classes, conv=conv, project=conv)


dy_resnet18, dy_resnet34, dy_resnet50 = (partial(_dy_resnet, depth) for depth in (18, 34, 50))
