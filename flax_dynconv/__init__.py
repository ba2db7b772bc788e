"""Dynamic convolutions for JAX."""

from flax_dynconv import convert, layers, models, ops

# Weights
from flax_dynconv.convert import from_torch, load_pretrained, save_reference_case, to_torch, verify

# Layers
from flax_dynconv.layers import (
    DCM,
    DDPM,
    BatchNorm,
    CondConv,
    CondConvRouting,
    DepthDC,
    DynamicConv,
    DynamicConvRouting,
    DynamicFiltering,
    DyNetConv,
    DyNetRouting,
    LocalFiltering,
    ODConv,
    ODConvAttention,
    ODConvRouting,
    set_temperature,
)

# Models
from flax_dynconv.models import (
    FRAME_PREDICTORS,
    MODELS,
    SALIENCY_NETWORKS,
    SEGMENTERS,
    FramePredictor,
    HDFNet,
    SteerableFilter,
    count,
    create_model,
    decay_mask,
    feature_info,
    list_models,
    param_labels,
    preprocess,
    preprocessing,
)

# Operators
from flax_dynconv.ops import mixture_conv, per_position_conv, per_sample_conv

__version__ = '0.1.0'

__all__ = [
    'DCM',
    'DDPM',
    'FRAME_PREDICTORS',
    'MODELS',
    'SALIENCY_NETWORKS',
    'SEGMENTERS',
    'BatchNorm',
    'CondConv',
    'CondConvRouting',
    'DepthDC',
    'DyNetConv',
    'DyNetRouting',
    'DynamicConv',
    'DynamicConvRouting',
    'DynamicFiltering',
    'FramePredictor',
    'HDFNet',
    'LocalFiltering',
    'ODConv',
    'ODConvAttention',
    'ODConvRouting',
    'SteerableFilter',
    'convert',
    'count',
    'create_model',
    'decay_mask',
    'feature_info',
    'from_torch',
    'layers',
    'list_models',
    'load_pretrained',
    'mixture_conv',
    'models',
    'ops',
    'param_labels',
    'per_position_conv',
    'per_sample_conv',
    'preprocess',
    'preprocessing',
    'save_reference_case',
    'set_temperature',
    'to_torch',
    'verify',
]
