"""CondInst: instance segmentation by a network per instance, from images to maps, boxes and masks."""

from flax_dynconv.models.condinst.boxes import box_area, box_iou, boxes_at
from flax_dynconv.models.condinst.detections import Detections, detect
from flax_dynconv.models.condinst.dynamic_mask_head import DynamicMaskHead
from flax_dynconv.models.condinst.fcos_head import FCOSHead
from flax_dynconv.models.condinst.flatten import FlatMaps, flatten_maps
from flax_dynconv.models.condinst.fpn import FPN
from flax_dynconv.models.condinst.locations import SIZES_OF_INTEREST, STRIDES, level_locations
from flax_dynconv.models.condinst.maps import InstanceMaps
from flax_dynconv.models.condinst.mask_branch import MaskBranch
from flax_dynconv.models.condinst.masks import instance_masks
from flax_dynconv.models.condinst.network import CondInst
from flax_dynconv.models.condinst.networks import INSTANCE_NETWORKS, condinst
from flax_dynconv.models.condinst.nms import greedy_nms

__all__ = [
    'FPN',
    'INSTANCE_NETWORKS',
    'SIZES_OF_INTEREST',
    'STRIDES',
    'CondInst',
    'Detections',
    'DynamicMaskHead',
    'FCOSHead',
    'FlatMaps',
    'InstanceMaps',
    'MaskBranch',
    'box_area',
    'box_iou',
    'boxes_at',
    'condinst',
    'detect',
    'flatten_maps',
    'greedy_nms',
    'instance_masks',
    'level_locations',
]
