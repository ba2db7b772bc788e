"""DMNet and its backbone with mmsegmentation's parameters and keys."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from tests.torch_mirrors.resnet import LAYOUTS, Bottle


class ConvModule(nn.Module):
    def __init__(self, inputs, outputs, size):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class DCM(nn.Module):
    def __init__(self, filter_size, fusion, in_channels, channels):
        super().__init__()
        self.size = filter_size
        self.filter_gen_conv = nn.Conv2d(in_channels, channels, 1)
        self.input_redu_conv = ConvModule(in_channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        if fusion:
            self.fusion_conv = ConvModule(channels, channels, 1)

    def forward(self, x):
        filters = self.filter_gen_conv(functional.adaptive_avg_pool2d(x, self.size))
        reduced = self.input_redu_conv(x)
        before, after = self.size // 2, (self.size - 1) // 2
        padded = functional.pad(reduced, (before, after, before, after))
        samples = [
            functional.conv2d(one[None], own[:, None], groups=len(own))
            for one, own in zip(padded, filters, strict=True)
        ]
        y = torch.relu(self.norm(torch.cat(samples)))
        return self.fusion_conv(y) if hasattr(self, 'fusion_conv') else y


class DMHead(nn.Module):
    def __init__(self, filter_sizes, fusion, in_channels, channels, num_classes, dropout_ratio=0.1):
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.dcm_modules = nn.ModuleList(DCM(size, fusion, in_channels, channels) for size in filter_sizes)
        self.bottleneck = ConvModule(in_channels + len(filter_sizes) * channels, channels, 3)

    def forward(self, x):
        maps = [x, *(module(x) for module in self.dcm_modules)]
        return self.conv_seg(self.dropout(self.bottleneck(torch.cat(maps, 1))))


class FCNHead(nn.Module):
    def __init__(self, in_channels, channels, num_classes, dropout_ratio=0.1):
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.convs = nn.Sequential(ConvModule(in_channels, channels, 3))

    def forward(self, x):
        return self.conv_seg(self.dropout(self.convs(x)))


class ResNetV1c(nn.Module):
    def __init__(self, sizes, stem_channels=64, base_channels=64, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)):
        super().__init__()
        half, layers, inputs = stem_channels // 2, [], 3
        for outputs, stride in ((half, 2), (half, 1), (stem_channels, 1)):
            layers.append(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.stem = nn.Sequential(*layers)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for stage, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
            planes, contracted = base_channels * 2**stage, max(1, dilation // 2)
            blocks = [Bottle(inputs, planes, stride, contracted)]
            inputs = planes * Bottle.expansion
            blocks += [Bottle(inputs, planes, 1, dilation) for _ in range(size - 1)]
            setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))

    def forward(self, x):
        x, maps = self.maxpool(self.stem(x)), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return tuple(maps)


resnet50_v1c, resnet101_v1c = (partial(ResNetV1c, LAYOUTS[depth][1]) for depth in (50, 101))


class EncoderDecoder(nn.Module):
    """`forward` is mmsegmentation's in its mode 'tensor', `both` gives the logits of both heads at the images' size."""

    def __init__(
        self,
        depth=50,
        filter_sizes=(1, 3, 5, 7),
        fusion=False,
        channels=512,
        num_classes=19,
        dropout_ratio=0.1,
        auxiliary=True,
        auxiliary_channels=256,
        align_corners=False,
        resize=False,
        sizes=None,
        **backbone,
    ):
        super().__init__()
        base = backbone.get('base_channels', 64)
        self.backbone = ResNetV1c(sizes or LAYOUTS[depth][1], **backbone)
        self.decode_head = DMHead(filter_sizes, fusion, 32 * base, channels, num_classes, dropout_ratio)
        if auxiliary:
            self.auxiliary_head = FCNHead(16 * base, auxiliary_channels, num_classes, dropout_ratio)
        self.align_corners, self.resize = align_corners, resize

    def forward(self, x):
        y = self.decode_head(self.backbone(x)[-1])
        return self._resized(y, x) if self.resize else y

    def both(self, x):
        maps = self.backbone(x)
        return self._resized(self.decode_head(maps[-1]), x), self._resized(self.auxiliary_head(maps[-2]), x)

    def _resized(self, y, x):
        return functional.interpolate(y, x.shape[2:], mode='bilinear', align_corners=self.align_corners)
