"""Which mirror stands for which reference id."""

from tests.torch_mirrors import condconv, dynconv, od_resnet, odconv, seed

MIRRORS = {
    'odconv.ODConv2d': odconv.ODConv2d,
    'odconv.od_resnet18': od_resnet.od_resnet18,
    'odconv.od_resnet34': od_resnet.od_resnet34,
    'odconv.od_resnet50': od_resnet.od_resnet50,
    'odconv.od_resnet101': od_resnet.od_resnet101,
    'timm.CondConv2d': condconv.CondConv2d,
    'dynconv.Dynamic_conv1d': dynconv.DynamicConv1d,
    'dynconv.Dynamic_conv2d': dynconv.DynamicConv2d,
    'dynconv.Dynamic_conv3d': dynconv.DynamicConv3d,
    'seed.DyNet2D': seed.DyNet2D,
    'seed.ODConv2D': seed.ODConv2D,
    'seed.YOLOODConv2d': seed.YOLOODConv2d,
}
