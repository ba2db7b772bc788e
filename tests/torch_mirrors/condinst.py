"""CondInst with AdelaiDet's parameters and keys: FPN, FCOS head with controller, mask branch, dynamic mask head."""

import torch
from torch import nn
from torch.nn import functional

from tests.torch_mirrors.detectron2 import SIZES, ResNet


def aligned_bilinear(x, factor):
    """By padding, resizing and cropping, as it was published."""
    height, width = x.shape[2:]
    x = functional.pad(x, (0, 1, 0, 1), mode='replicate')
    size = (factor * height + 1, factor * width + 1)
    x = functional.interpolate(x, size, mode='bilinear', align_corners=True)
    x = functional.pad(x, (factor // 2, 0, factor // 2, 0), mode='replicate')
    return x[:, :, : factor * height, : factor * width]


class Pyramid(nn.Module):
    """detectron2's FPN on C3 to C5, and P6, P7 from P5; the backbone is its submodule."""

    def __init__(self, bottom_up, channels, outputs):
        super().__init__()
        self.bottom_up = bottom_up
        for level, inputs in zip((3, 4, 5), channels, strict=True):
            self.add_module(f'fpn_lateral{level}', nn.Conv2d(inputs, outputs, 1))
            self.add_module(f'fpn_output{level}', nn.Conv2d(outputs, outputs, 3, padding=1))
        self.top_block = nn.ModuleDict({p: nn.Conv2d(outputs, outputs, 3, 2, 1) for p in ('p6', 'p7')})

    def forward(self, images):
        maps, top = [], None
        for level, x in zip((5, 4, 3), reversed(self.bottom_up(images)), strict=True):
            lateral = getattr(self, f'fpn_lateral{level}')(x)
            top = lateral if top is None else lateral + functional.interpolate(top, scale_factor=2, mode='nearest')
            maps.insert(0, getattr(self, f'fpn_output{level}')(top))
        p6 = self.top_block['p6'](maps[-1])
        return (*maps, p6, self.top_block['p7'](torch.relu(p6)))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


def tower(channels, depth):
    layers = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(32, channels), nn.ReLU()]
    return nn.Sequential(*layers)


class FCOSHead(nn.Module):
    def __init__(self, channels, classes, levels, cls_convs=4, box_convs=4):
        super().__init__()
        self.cls_tower, self.bbox_tower = tower(channels, cls_convs), tower(channels, box_convs)
        self.cls_logits = nn.Conv2d(channels, classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(channels, 4, 3, padding=1)
        self.ctrness = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in range(levels))

    def forward(self, maps, controller):
        outputs = []
        for x, scale in zip(maps, self.scales, strict=True):
            boxes = self.bbox_tower(x)
            distances = torch.relu(scale(self.bbox_pred(boxes)))
            outputs.append((self.cls_logits(self.cls_tower(x)), distances, self.ctrness(boxes), controller(boxes)))
        return outputs


class HeadWithController(nn.Module):
    def __init__(self, in_channels, num_classes, num_gen_params, num_levels, num_convs):
        super().__init__()
        self.fcos_head = FCOSHead(in_channels, num_classes, num_levels, num_convs, num_convs)
        self.controller = nn.Conv2d(in_channels, num_gen_params, 3, padding=1)

    def forward(self, *maps):
        return self.fcos_head(maps, self.controller)


def conv_norm(inputs, outputs):
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class MaskBranch(nn.Module):
    def __init__(self, in_channels=256, channels=128, num_convs=4, out_channels=8, semantic_classes=0):
        super().__init__()
        self.refine = nn.ModuleList(conv_norm(in_channels, channels) for _ in range(3))
        convs = [conv_norm(channels, channels) for _ in range(num_convs)]
        self.tower = nn.Sequential(*convs, nn.Conv2d(channels, out_channels, 1))
        if semantic_classes:
            self.seg_head = nn.Sequential(conv_norm(in_channels, channels), conv_norm(channels, channels))
            self.logits = nn.Conv2d(channels, semantic_classes, 1)

    def forward(self, *maps):
        x = sum(
            aligned_bilinear(f(p), 2**i) if i else f(p) for i, (f, p) in enumerate(zip(self.refine, maps, strict=True))
        )
        masks = self.tower(x)
        return (masks, self.logits(self.seg_head(maps[0]))) if hasattr(self, 'logits') else masks


class DynamicMaskHead(nn.Module):
    """The network of each instance on its own features."""

    def __init__(
        self,
        in_channels=8,
        channels=8,
        num_layers=3,
        disable_rel_coords=False,
        sizes_of_interest=(64, 128, 256, 512, 1024),
        mask_feat_stride=8,
        mask_out_stride=4,
    ):
        super().__init__()
        self.coordinates, self.stride, self.out_stride = not disable_rel_coords, mask_feat_stride, mask_out_stride
        inputs = [in_channels + 2 * self.coordinates] + [channels] * (num_layers - 1)
        self.shapes = list(zip([channels] * (num_layers - 1) + [1], inputs, strict=True))
        self.register_buffer('sizes_of_interest', torch.tensor(sizes_of_interest))
        self.register_buffer('_iter', torch.zeros(1))

    @property
    def generated(self):
        return sum(o * i + o for o, i in self.shapes)

    def forward(self, params, features):
        sizes = [o * i for o, i in self.shapes] + [o for o, _ in self.shapes]
        parts = params.split(sizes, 1)
        x, count = features, len(self.shapes)
        for layer, (outputs, inputs) in enumerate(self.shapes):
            weight, bias = parts[layer].unflatten(1, (outputs, inputs)), parts[count + layer]
            x = torch.einsum('noi,nihw->nohw', weight, x) + bias[:, :, None, None]
            x = x if layer == count - 1 else torch.relu(x)
        return x


class DynamicMaskHeadWithCoords(DynamicMaskHead):
    """The same with what precedes it and what follows."""

    def forward(self, params, mask_features, locations, levels, images):
        features, stride = mask_features[images], self.stride
        if self.coordinates:
            height, width = features.shape[2:]
            x = (stride * torch.arange(width) + stride // 2).expand(height, width)
            y = (stride * torch.arange(height) + stride // 2)[:, None].expand(height, width)
            relative = locations[:, :, None, None] - torch.stack([x, y])[None]
            relative = relative / self.sizes_of_interest[levels][:, None, None, None]
            features = torch.cat([relative.to(features.dtype), features], 1)
        return aligned_bilinear(super().forward(params, features), stride // self.out_stride)


class Generator(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.fcos_head = head


class CondInst(nn.Module):
    """Outputs: logits, distances, centerness and parameters of each level, then the mask features."""

    def __init__(
        self,
        depth=50,
        stem_out_channels=64,
        res2_out_channels=256,
        stride_in_1x1=True,
        fpn_out_channels=256,
        num_classes=80,
        num_cls_convs=4,
        num_box_convs=4,
        mask_branch_channels=128,
        mask_branch_num_convs=4,
        mask_branch_out_channels=8,
        mask_head_channels=8,
        mask_head_num_layers=3,
        disable_rel_coords=False,
        semantic_loss_on=False,
        sizes=None,
    ):
        super().__init__()
        bottom_up = ResNet(sizes or SIZES[depth], stem_out_channels, res2_out_channels, stride_in_1x1)
        inputs = [factor * res2_out_channels for factor in (2, 4, 8)]
        self.backbone = Pyramid(bottom_up, inputs, fpn_out_channels)
        head = FCOSHead(fpn_out_channels, num_classes, 5, num_cls_convs, num_box_convs)
        self.proposal_generator = Generator(head)
        head = (mask_branch_out_channels, mask_head_channels, mask_head_num_layers, disable_rel_coords)
        self.mask_head = DynamicMaskHead(*head)
        self.mask_branch = MaskBranch(
            fpn_out_channels,
            mask_branch_channels,
            mask_branch_num_convs,
            mask_branch_out_channels,
            num_classes if semantic_loss_on else 0,
        )
        self.controller = nn.Conv2d(fpn_out_channels, self.mask_head.generated, 3, padding=1)

    def forward(self, images):
        maps = self.backbone(images)
        levels = self.proposal_generator.fcos_head(maps, self.controller)
        return levels, self.mask_branch(*maps[:3])
