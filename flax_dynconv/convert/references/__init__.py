"""Every PyTorch module the bridge knows, by its id."""

from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references.condinst import FCOS_HEAD, MASK_BRANCH
from flax_dynconv.convert.references.condinst_mask_head import DYNAMIC_MASK_HEAD, WITH_COORDS
from flax_dynconv.convert.references.condinst_network import CONDINST
from flax_dynconv.convert.references.detectron2 import d2_resnet
from flax_dynconv.convert.references.dfn import HIGHWAY, MOVING_MNIST, STEERABLE_FILTER, STEREO
from flax_dynconv.convert.references.dmnet import DCM, DM_HEAD, ENCODER_DECODER
from flax_dynconv.convert.references.dynconv import dynamic_conv
from flax_dynconv.convert.references.dynconv_resnet import dy_resnet
from flax_dynconv.convert.references.hdfnet import DDPM, DENSE_LAYER, DENSE_TRANS_LAYER, depth_dc
from flax_dynconv.convert.references.hdfnet_networks import hdfnet_resnet, hdfnet_vgg
from flax_dynconv.convert.references.mmseg import resnet_v1c
from flax_dynconv.convert.references.odconv import ODCONV2D
from flax_dynconv.convert.references.odconv_mobilenet import od_mobilenetv2
from flax_dynconv.convert.references.odconv_resnet import od_resnet
from flax_dynconv.convert.references.seed_dynet import DYNET2D
from flax_dynconv.convert.references.seed_odconv import ODCONV2D as PLAIN_ODCONV2D
from flax_dynconv.convert.references.seed_yolo import YOLO_ODCONV2D
from flax_dynconv.convert.references.timm import CONDCONV2D
from flax_dynconv.convert.references.timm_efficientnet import CONDCONV_RESIDUAL, tf_efficientnet
from flax_dynconv.convert.references.torchvision_mobilenet import TV_MOBILENET_V2, tv_mobilenet_v3
from flax_dynconv.convert.references.torchvision_resnet import tv_resnet
from flax_dynconv.convert.references.torchvision_shufflenet import tv_shufflenet_v2
from flax_dynconv.convert.references.torchvision_vgg import tv_vgg
from flax_dynconv.models.mobilenet_v3 import mobilenetv3_large, mobilenetv3_small

LAYERS: dict[str, Reference] = {
    'odconv.ODConv2d': ODCONV2D,
    'timm.CondConv2d': CONDCONV2D,
    'timm.CondConvResidual': CONDCONV_RESIDUAL,
    'dynconv.Dynamic_conv1d': dynamic_conv(1),
    'dynconv.Dynamic_conv2d': dynamic_conv(2),
    'dynconv.Dynamic_conv3d': dynamic_conv(3),
    'seed.DyNet2D': DYNET2D,
    'seed.ODConv2D': PLAIN_ODCONV2D,
    'seed.YOLOODConv2d': YOLO_ODCONV2D,
    'dmnet.DCM': DCM,
    'hdfnet.DepthDC3x3_1': depth_dc(1),
    'hdfnet.DepthDC3x3_3': depth_dc(3),
    'hdfnet.DepthDC3x3_5': depth_dc(5),
    'hdfnet.DDPM': DDPM,
    'hdfnet.DenseLayer': DENSE_LAYER,
    'hdfnet.DenseTransLayer': DENSE_TRANS_LAYER,
}
NETWORKS: dict[str, Reference] = {
    'odconv.od_resnet18': od_resnet(18),
    'odconv.od_resnet34': od_resnet(34),
    'odconv.od_resnet50': od_resnet(50),
    'odconv.od_resnet101': od_resnet(101),
    'odconv.od_mobilenetv2_050': od_mobilenetv2(0.5),
    'odconv.od_mobilenetv2_075': od_mobilenetv2(0.75),
    'odconv.od_mobilenetv2_100': od_mobilenetv2(1.0),
    'dynconv.dy_resnet18': dy_resnet(18),
    'dynconv.dy_resnet34': dy_resnet(34),
    'dynconv.dy_resnet50': dy_resnet(50),
    'timm.tf_efficientnet_b0': tf_efficientnet(),
    'timm.tf_efficientnet_b1': tf_efficientnet(1.1),
    'timm.tf_efficientnet_cc_b0_4e': tf_efficientnet(1.0, 4),
    'timm.tf_efficientnet_cc_b0_8e': tf_efficientnet(1.0, 8),
    'timm.tf_efficientnet_cc_b1_8e': tf_efficientnet(1.1, 8),
    'torchvision.resnet18': tv_resnet(18),
    'torchvision.resnet34': tv_resnet(34),
    'torchvision.resnet50': tv_resnet(50),
    'torchvision.resnet101': tv_resnet(101),
    'torchvision.mobilenet_v2': TV_MOBILENET_V2,
    'torchvision.mobilenet_v3_small': tv_mobilenet_v3(mobilenetv3_small),
    'torchvision.mobilenet_v3_large': tv_mobilenet_v3(mobilenetv3_large),
    'torchvision.shufflenet_v2_x0_5': tv_shufflenet_v2(0.5),
    'torchvision.shufflenet_v2_x1_0': tv_shufflenet_v2(1.0),
    'torchvision.shufflenet_v2_x1_5': tv_shufflenet_v2(1.5),
    'torchvision.shufflenet_v2_x2_0': tv_shufflenet_v2(2.0),
    'torchvision.vgg16_bn': tv_vgg(16),
    'torchvision.vgg19_bn': tv_vgg(19),
}
SEGMENTATION: dict[str, Reference] = {
    'dmnet.DMHead': DM_HEAD,
    'dmnet.EncoderDecoder': ENCODER_DECODER,
    'mmseg.resnet50_v1c': resnet_v1c(50),
    'mmseg.resnet101_v1c': resnet_v1c(101),
}
SALIENCY: dict[str, Reference] = {
    'hdfnet.HDFNet_VGG16': hdfnet_vgg(16),
    'hdfnet.HDFNet_VGG19': hdfnet_vgg(19),
    'hdfnet.HDFNet_Res50': hdfnet_resnet(50),
}
# DynamicMaskHead is `mask_heads_forward`, the other is `mask_heads_forward_with_coords`.
INSTANCES: dict[str, Reference] = {
    'condinst.DynamicMaskHead': DYNAMIC_MASK_HEAD,
    'condinst.DynamicMaskHeadWithCoords': WITH_COORDS,
    'condinst.MaskBranch': MASK_BRANCH,
    'condinst.FCOSHead': FCOS_HEAD,
    'condinst.CondInst': CONDINST,
    'detectron2.R-50': d2_resnet(50),
    'detectron2.R-101': d2_resnet(101),
}
# Networks that are in no list of models for images.
FILTER_NETWORKS: dict[str, Reference] = {
    'dfn.SteerableFilter': STEERABLE_FILTER,
    'dfn.MovingMNIST': MOVING_MNIST,
    'dfn.Highway': HIGHWAY,
    'dfn.Stereo': STEREO,
}
REFERENCES: dict[str, Reference] = {
    **LAYERS,
    **NETWORKS,
    **FILTER_NETWORKS,
    **SEGMENTATION,
    **SALIENCY,
    **INSTANCES,
}
