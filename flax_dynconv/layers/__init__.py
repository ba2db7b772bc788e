"""Flax Linen layers: dynamic convolutions that are drop-ins for `nn.Conv`, one paper per file."""

from flax_dynconv.layers._odconv_routing import ODConvAttention, ODConvRouting
from flax_dynconv.layers.adaptive_average_pool import adaptive_average_pool
from flax_dynconv.layers.aligned_bilinear import aligned_bilinear
from flax_dynconv.layers.batch_norm import BatchNorm, NoNorm
from flax_dynconv.layers.condconv import CondConv, CondConvRouting
from flax_dynconv.layers.conv_norm_act import ConvNormAct
from flax_dynconv.layers.dcm import DCM
from flax_dynconv.layers.ddpm import DDPM
from flax_dynconv.layers.dense_layer import DenseLayer
from flax_dynconv.layers.dense_trans_layer import DenseTransLayer
from flax_dynconv.layers.depth_dc import DepthDC
from flax_dynconv.layers.dynamic_conv import DynamicConv, DynamicConvRouting
from flax_dynconv.layers.dynamic_filtering import DynamicFiltering
from flax_dynconv.layers.dynet import DyNetConv, DyNetRouting
from flax_dynconv.layers.local_filtering import LocalFiltering
from flax_dynconv.layers.odconv import ODConv
from flax_dynconv.layers.presets import (
    ODConvNormAct,
    PlainODConv,
    PlainODConvRouting,
    SoftmaxDyNetConv,
    SoftmaxDyNetRouting,
)
from flax_dynconv.layers.resize_bilinear import resize_bilinear
from flax_dynconv.layers.temperature import set_temperature

__all__ = [
    'DCM',
    'DDPM',
    'BatchNorm',
    'CondConv',
    'CondConvRouting',
    'ConvNormAct',
    'DenseLayer',
    'DenseTransLayer',
    'DepthDC',
    'DyNetConv',
    'DyNetRouting',
    'DynamicConv',
    'DynamicConvRouting',
    'DynamicFiltering',
    'LocalFiltering',
    'NoNorm',
    'ODConv',
    'ODConvAttention',
    'ODConvNormAct',
    'ODConvRouting',
    'PlainODConv',
    'PlainODConvRouting',
    'SoftmaxDyNetConv',
    'SoftmaxDyNetRouting',
    'adaptive_average_pool',
    'aligned_bilinear',
    'resize_bilinear',
    'set_temperature',
]
