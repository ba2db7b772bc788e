"""torchvision's ResNets, with the convolutions of the blocks and of the shortcuts open to choice."""

from functools import partial

import torch
from torch import nn

static = partial(nn.Conv2d, bias=False)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride=1, dilation=1, conv=static, project=static):
        super().__init__()
        if dilation > 1:
            raise NotImplementedError('the basic block is not dilated')
        self.conv1 = conv(inputs, planes, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(project, inputs, planes, stride)

    def forward(self, x, routing=((), ())):
        y = torch.relu(self.bn1(self.conv1(x, *routing[0])))
        y = self.bn2(self.conv2(y, *routing[1]))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottle(nn.Module):
    expansion = 4

    def __init__(self, inputs, planes, stride=1, dilation=1, conv=static, project=static, stride_first=False):
        super().__init__()
        first, stride_3x3 = (stride, 1) if stride_first else (1, stride)
        self.conv1 = conv(inputs, planes, 1, stride=first)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3, stride=stride_3x3, padding=dilation, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv(planes, 4 * planes, 1)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = _shortcut(project, inputs, 4 * planes, stride)

    def forward(self, x, routing=((), (), ())):
        y = torch.relu(self.bn1(self.conv1(x, *routing[0])))
        y = torch.relu(self.bn2(self.conv2(y, *routing[1])))
        y = self.bn3(self.conv3(y, *routing[2]))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(project, inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(project(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    def __init__(
        self,
        block,
        sizes,
        num_classes=1000,
        replace_stride_with_dilation=None,
        dropout=0.0,
        conv=static,
        project=static,
        stem=64,
        base=64,
    ):
        super().__init__()
        self.conv1 = static(3, stem, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        dilate = (False, *(replace_stride_with_dilation or (False,) * 3))
        width, dilation = stem, 1
        for stage, size in enumerate(sizes):
            planes, stride, before = base * 2**stage, 2 if stage else 1, dilation
            if dilate[stage]:
                dilation, stride = dilation * stride, 1
            blocks = [block(width, planes, stride, before, conv=conv, project=project)]
            width = planes * block.expansion
            blocks += [block(width, planes, 1, dilation, conv=conv, project=project) for _ in range(size - 1)]
            setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.dropout(x.flatten(2).mean(2)))


LAYOUTS = {
    18: (Basic, (2, 2, 2, 2)),
    34: (Basic, (3, 4, 6, 3)),
    50: (Bottle, (3, 4, 6, 3)),
    101: (Bottle, (3, 4, 23, 3)),
}
resnet18, resnet34, resnet50, resnet101 = (partial(ResNet, *layout) for layout in LAYOUTS.values())
