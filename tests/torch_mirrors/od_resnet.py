"""ODConv's ResNets: torchvision's layout with ODConv2d for every convolution of the blocks."""

import torch
from torch import nn

from tests.torch_mirrors.odconv import ODConv2d


class Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride, **od):
        super().__init__()
        self.conv1 = ODConv2d(inputs, planes, 3, stride, 1, **od)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = ODConv2d(planes, planes, 3, 1, 1, **od)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottle(nn.Module):
    expansion = 4

    def __init__(self, inputs, planes, stride, **od):
        super().__init__()
        self.conv1 = ODConv2d(inputs, planes, 1, **od)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = ODConv2d(planes, planes, 3, stride, 1, **od)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = ODConv2d(planes, 4 * planes, 1, **od)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, 4 * planes, stride)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ODResNet(nn.Module):
    def __init__(self, block, sizes, num_classes=1000, dropout=0.1, reduction=0.0625, kernel_num=1):
        super().__init__()
        od = {'reduction': reduction, 'kernel_num': kernel_num}
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width = 64
        for stage, size in enumerate(sizes):
            blocks = []
            for i in range(size):
                planes = 64 * 2**stage
                blocks.append(block(width, planes, 2 if stage and i == 0 else 1, **od))
                width = planes * block.expansion
            setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.dropout(torch.flatten(x, 2).mean(2)))


def od_resnet18(**arguments):
    return ODResNet(Basic, (2, 2, 2, 2), **arguments)


def od_resnet34(**arguments):
    return ODResNet(Basic, (3, 4, 6, 3), **arguments)


def od_resnet50(**arguments):
    return ODResNet(Bottle, (3, 4, 6, 3), **arguments)


def od_resnet101(**arguments):
    return ODResNet(Bottle, (3, 4, 23, 3), **arguments)
