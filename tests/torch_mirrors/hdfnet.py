"""HDFNet's modules and networks with the reference's parameters and keys."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from tests.torch_mirrors.resnet import LAYOUTS, Bottle
from tests.torch_mirrors.vgg import SIZES, stages


class Basic(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.basicconv = nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x):
        return self.basicconv(x)


class DenseLayer(nn.Module):
    def __init__(self, in_C, out_C, down_factor=4, k=4):
        super().__init__()
        width = out_C // down_factor
        self.down = nn.Conv2d(in_C, width, 1)
        self.denseblock = nn.ModuleList(Basic(width * (i + 1), width) for i in range(k))
        self.fuse = Basic(in_C + width, out_C)

    def forward(self, x):
        maps = [self.down(x)]
        for block in self.denseblock:
            maps.insert(-1, block(torch.cat(maps, 1)))
        return self.fuse(torch.cat([x, maps[-2]], 1))


class DenseTransLayer(nn.Module):
    def __init__(self, in_C, out_C):
        super().__init__()
        self.fuse_down_mul = Basic(in_C, in_C)
        self.res_main = DenseLayer(in_C, in_C, in_C // out_C)
        self.fuse_main = Basic(in_C, out_C)

    def forward(self, rgb, depth):
        fused = self.fuse_down_mul(rgb + depth)
        return self.fuse_main(fused + self.res_main(fused))


class DepthDC(nn.Module):
    def __init__(self, dilation, in_xC, in_yC, out_C, down_factor=4):
        super().__init__()
        self.dilation = dilation
        self.fuse = nn.Conv2d(in_xC, out_C, 3, padding=1)
        dense = DenseLayer(in_yC, in_yC, k=down_factor)
        first, last = nn.Conv2d(in_yC, in_yC, 3, padding=1), nn.Conv2d(in_yC, 9 * in_xC, 1)
        self.gernerate_kernel = nn.Sequential(first, dense, last)

    def forward(self, x, y):
        d, (height, width) = self.dilation, x.shape[2:]
        kernels = self.gernerate_kernel(y).unflatten(1, (x.shape[1], 3, 3))
        padded, total = functional.pad(x, (d, d, d, d)), 0
        for p in range(3):
            for q in range(3):
                total = total + kernels[:, :, p, q] * padded[:, :, p * d : p * d + height, q * d : q * d + width]
        return self.fuse(total)


class DDPM(nn.Module):
    def __init__(self, in_xC, in_yC, out_C, kernel_size=3, down_factor=4):
        super().__init__()
        width = out_C // 4
        self.down_input = nn.Conv2d(in_xC, width, 1)
        for d in (1, 3, 5):
            setattr(self, f'branch_{d}', DepthDC(d, width, in_yC, width, down_factor))
        self.fuse = Basic(4 * width, out_C)

    def forward(self, x, y):
        x = self.down_input(x)
        return self.fuse(torch.cat([x, self.branch_1(x, y), self.branch_3(x, y), self.branch_5(x, y)], 1))


def vgg_encoder(sizes, base, inputs):
    return {2**i: nn.Sequential(*layers) for i, layers in enumerate(stages(sizes, base, inputs))}


def resnet_encoder(sizes, base, inputs):
    stem = nn.Sequential(nn.Conv2d(inputs, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base), nn.ReLU())
    encoder, width = {2: stem}, base
    for stage, size in enumerate(sizes):
        planes = base * 2**stage
        blocks = [Bottle(width, planes, 2 if stage else 1)]
        width = 4 * planes
        blocks += [Bottle(width, planes) for _ in range(size - 1)]
        layer = nn.Sequential(*blocks)
        encoder[2 ** (stage + 2)] = layer if stage else nn.Sequential(nn.MaxPool2d(3, 2, 1), layer)
    return encoder


class HDFNet(nn.Module):
    """`base`: channels of the encoders' first map, `channels`: those of the decoder; the reference's are 64."""

    def __init__(self, encoder, sizes, pretrained=False, base=64, channels=64):
        super().__init__()
        self.strides, self.whole = [], encoder is vgg_encoder
        for name, inputs in (('encoder', 3), ('depth_encoder', 1)):
            for stride, module in encoder(sizes, base, inputs).items():
                setattr(self, f'{name}{stride}', module)
                self.strides = [*self.strides, stride] if inputs == 3 else self.strides
        factors = (1, 2, 4, 8, 8) if self.whole else (1, 4, 8, 16, 32)
        half, finest = channels // 2, self.strides[0]
        for stride, factor in zip(self.strides, factors, strict=True):
            outputs = half if stride == 1 else channels
            setattr(self, f'trans{stride}', nn.Conv2d(factor * base, outputs, 1))
            setattr(self, f'upconv{stride}', Basic(outputs, half if stride <= 2 else channels))
            if stride > 2 * finest:
                setattr(self, f'depth_trans{stride}', DenseTransLayer(factor * base, channels))
                setattr(self, f'selfdc_{stride}', DDPM(channels, channels, channels))
        if not self.whole:
            self.upconv1 = Basic(half, half)
        self.classifier = nn.Conv2d(half, 1, 1)

    def logits(self, image, depth):
        maps, depth_maps = {}, {}
        for stride in self.strides:
            image = maps[stride] = getattr(self, f'encoder{stride}')(image)
            depth = depth_maps[stride] = getattr(self, f'depth_encoder{stride}')(depth)
        x = None
        for stride in reversed(self.strides):
            t = getattr(self, f'trans{stride}')(maps[stride])
            if x is not None:
                t = t + functional.interpolate(x, t.shape[2:], mode='bilinear', align_corners=False)
            x = getattr(self, f'upconv{stride}')(t)
            if hasattr(self, f'selfdc_{stride}'):
                guidance = getattr(self, f'depth_trans{stride}')(maps[stride], depth_maps[stride])
                x = getattr(self, f'selfdc_{stride}')(x, guidance)
        if not self.whole:
            x = self.upconv1(functional.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True))
        return self.classifier(x)

    def forward(self, image, depth):
        return self.logits(image, depth).sigmoid()


HDFNet_VGG16, HDFNet_VGG19 = (partial(HDFNet, vgg_encoder, SIZES[depth]) for depth in (16, 19))
HDFNet_Res50 = partial(HDFNet, resnet_encoder, LAYOUTS[50][1])
DepthDC3x3_1, DepthDC3x3_3, DepthDC3x3_5 = (partial(DepthDC, d) for d in (1, 3, 5))
