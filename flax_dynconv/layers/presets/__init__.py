"""Published variants that differ from the papers in ways that change the numbers, each under a name of its own."""

from flax_dynconv.layers.presets.odconv_norm_act import ODConvNormAct
from flax_dynconv.layers.presets.plain_odconv import PlainODConv, PlainODConvRouting
from flax_dynconv.layers.presets.softmax_dynet import SoftmaxDyNetConv, SoftmaxDyNetRouting

__all__ = ['ODConvNormAct', 'PlainODConv', 'PlainODConvRouting', 'SoftmaxDyNetConv', 'SoftmaxDyNetRouting']
