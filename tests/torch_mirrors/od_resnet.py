"""ODConv's ResNets: torchvision's layout with ODConv2d for every convolution of the blocks, and a dropout."""

from functools import partial

from tests.torch_mirrors.odconv import ODConv2d
from tests.torch_mirrors.resnet import LAYOUTS, ResNet


def _od_resnet(depth, num_classes=1000, dropout=0.1, reduction=0.0625, kernel_num=1):
    conv = partial(ODConv2d, reduction=reduction, kernel_num=kernel_num)
    return ResNet(*LAYOUTS[depth], num_classes=num_classes, dropout=dropout, conv=conv)


od_resnet18, od_resnet34, od_resnet50, od_resnet101 = (partial(_od_resnet, depth) for depth in LAYOUTS)
