"""MobileNetV2 as torchvision and as ODConv have it: the convolutions of the blocks and the last one open to choice."""

from functools import partial

from torch import nn

from tests.torch_mirrors.odconv import ODConv2d
from tests.torch_mirrors.resnet import static

# Expansion, channels, blocks, stride of the first block.
SETTINGS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def divisible(channels, divisor=8):
    """The nearest multiple, one higher where that would lose more than a tenth."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def unit(conv, inputs, outputs, size, stride=1, groups=1):
    """Convolution, norm and ReLU6: keys 0 and 1."""
    layer = conv(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, conv, inputs, outputs, stride, expansion):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        middle = inputs * expansion
        self.conv = nn.Sequential(
            *([unit(conv, inputs, middle, 1)] if expansion > 1 else []),
            unit(conv, middle, middle, 3, stride, middle),
            conv(middle, outputs, 1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, num_classes=1000, width_mult=1.0, dropout=0.2, conv=static):
        super().__init__()
        width, last = divisible(32 * width_mult), divisible(1280 * max(1.0, width_mult))
        layers = [unit(static, 3, width, 3, 2)]
        for expansion, channels, blocks, stride in SETTINGS:
            for i in range(blocks):
                outputs = divisible(channels * width_mult)
                layers.append(Inverted(conv, width, outputs, 1 if i else stride, expansion))
                width = outputs
        self.features = nn.Sequential(*layers, unit(conv, width, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(2).mean(2))


def _od(width, num_classes=1000, dropout=0.2, reduction=0.0625, kernel_num=1):
    conv = partial(ODConv2d, reduction=reduction, kernel_num=kernel_num)
    return MobileNetV2(num_classes, width, dropout, conv)


od_mobilenetv2_050, od_mobilenetv2_075, od_mobilenetv2_100 = (partial(_od, width) for width in (0.5, 0.75, 1.0))
