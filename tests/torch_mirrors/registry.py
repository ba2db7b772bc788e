"""Which mirror stands for which reference id."""

from tests.torch_mirrors import condconv, dy_resnet, dynconv, mobilenet_v2, od_resnet, odconv, resnet, seed

MIRRORS = {
    'odconv.ODConv2d': odconv.ODConv2d,
    'odconv.od_resnet18': od_resnet.od_resnet18,
    'odconv.od_resnet34': od_resnet.od_resnet34,
    'odconv.od_resnet50': od_resnet.od_resnet50,
    'odconv.od_resnet101': od_resnet.od_resnet101,
    'odconv.od_mobilenetv2_050': mobilenet_v2.od_mobilenetv2_050,
    'odconv.od_mobilenetv2_075': mobilenet_v2.od_mobilenetv2_075,
    'odconv.od_mobilenetv2_100': mobilenet_v2.od_mobilenetv2_100,
    'timm.CondConv2d': condconv.CondConv2d,
    'dynconv.Dynamic_conv1d': dynconv.DynamicConv1d,
    'dynconv.Dynamic_conv2d': dynconv.DynamicConv2d,
    'dynconv.Dynamic_conv3d': dynconv.DynamicConv3d,
    'dynconv.dy_resnet18': dy_resnet.dy_resnet18,
    'dynconv.dy_resnet34': dy_resnet.dy_resnet34,
    'dynconv.dy_resnet50': dy_resnet.dy_resnet50,
    'torchvision.resnet18': resnet.resnet18,
    'torchvision.resnet34': resnet.resnet34,
    'torchvision.resnet50': resnet.resnet50,
    'torchvision.resnet101': resnet.resnet101,
    'torchvision.mobilenet_v2': mobilenet_v2.MobileNetV2,
    'seed.DyNet2D': seed.DyNet2D,
    'seed.ODConv2D': seed.ODConv2D,
    'seed.YOLOODConv2d': seed.YOLOODConv2d,
}
