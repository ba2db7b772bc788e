"""Flax Linen layers: dynamic convolutions that are drop-ins for `nn.Conv`, one paper per file."""

from flax_dynconv.layers._odconv_routing import ODConvAttention, ODConvRouting
from flax_dynconv.layers.batch_norm import BatchNorm, NoNorm
from flax_dynconv.layers.condconv import CondConv, CondConvRouting
from flax_dynconv.layers.dynamic_conv import DynamicConv, DynamicConvRouting
from flax_dynconv.layers.dynamic_filtering import DynamicFiltering
from flax_dynconv.layers.dynet import DyNetConv, DyNetRouting
from flax_dynconv.layers.local_filtering import LocalFiltering
from flax_dynconv.layers.odconv import ODConv
from flax_dynconv.layers.presets import (
    PlainODConv,
    PlainODConvRouting,
    SoftmaxDyNetConv,
    SoftmaxDyNetRouting,
)
from flax_dynconv.layers.temperature import set_temperature

__all__ = [
    'BatchNorm',
    'CondConv',
    'CondConvRouting',
    'DyNetConv',
    'DyNetRouting',
    'DynamicConv',
    'DynamicConvRouting',
    'DynamicFiltering',
    'LocalFiltering',
    'NoNorm',
    'ODConv',
    'ODConvAttention',
    'ODConvRouting',
    'PlainODConv',
    'PlainODConvRouting',
    'SoftmaxDyNetConv',
    'SoftmaxDyNetRouting',
    'set_temperature',
]
