"""Every PyTorch module the bridge knows, by its id."""

from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references.dynconv import dynamic_conv
from flax_dynconv.convert.references.odconv import ODCONV2D
from flax_dynconv.convert.references.odconv_nets import od_resnet
from flax_dynconv.convert.references.seed_dynet import DYNET2D
from flax_dynconv.convert.references.seed_odconv import ODCONV2D as PLAIN_ODCONV2D
from flax_dynconv.convert.references.seed_yolo import YOLO_ODCONV2D
from flax_dynconv.convert.references.timm import CONDCONV2D

REFERENCES: dict[str, Reference] = {
    'odconv.ODConv2d': ODCONV2D,
    'odconv.od_resnet18': od_resnet(18),
    'odconv.od_resnet34': od_resnet(34),
    'odconv.od_resnet50': od_resnet(50),
    'odconv.od_resnet101': od_resnet(101),
    'timm.CondConv2d': CONDCONV2D,
    'dynconv.Dynamic_conv1d': dynamic_conv(1),
    'dynconv.Dynamic_conv2d': dynamic_conv(2),
    'dynconv.Dynamic_conv3d': dynamic_conv(3),
    'seed.DyNet2D': DYNET2D,
    'seed.ODConv2D': PLAIN_ODCONV2D,
    'seed.YOLOODConv2d': YOLO_ODCONV2D,
}
