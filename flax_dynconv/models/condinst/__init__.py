"""CondInst: instance segmentation by a network per instance, from images to maps, boxes and masks."""

from flax_dynconv.models.condinst.fcos_head import FCOSHead
from flax_dynconv.models.condinst.flatten import FlatMaps, flatten_maps
from flax_dynconv.models.condinst.fpn import FPN
from flax_dynconv.models.condinst.locations import SIZES_OF_INTEREST, STRIDES, level_locations
from flax_dynconv.models.condinst.maps import InstanceMaps
from flax_dynconv.models.condinst.mask_branch import MaskBranch
from flax_dynconv.models.condinst.masks import instance_masks
from flax_dynconv.models.condinst.network import CondInst
from flax_dynconv.models.condinst.networks import INSTANCE_NETWORKS, condinst

__all__ = [
    'FPN',
    'INSTANCE_NETWORKS',
    'SIZES_OF_INTEREST',
    'STRIDES',
    'CondInst',
    'FCOSHead',
    'FlatMaps',
    'InstanceMaps',
    'MaskBranch',
    'condinst',
    'flatten_maps',
    'instance_masks',
    'level_locations',
]
