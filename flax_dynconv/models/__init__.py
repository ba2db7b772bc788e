"""Networks that take their convolution as an argument, a dict of them by name, and a counter of their cost."""

from flax_dynconv.models.counting import Layer, Report, count
from flax_dynconv.models.registry import MODELS, create_model, list_models, static_twin
from flax_dynconv.models.residual_blocks import BasicBlock, Bottleneck
from flax_dynconv.models.resnet import ResNet, batch_norm, static_conv
from flax_dynconv.models.resnets import dyconv_resnet, odconv_resnet, resnet

__all__ = [
    'MODELS',
    'BasicBlock',
    'Bottleneck',
    'Layer',
    'Report',
    'ResNet',
    'batch_norm',
    'count',
    'create_model',
    'dyconv_resnet',
    'list_models',
    'odconv_resnet',
    'resnet',
    'static_conv',
    'static_twin',
]
