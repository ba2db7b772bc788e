"""Networks that take their convolution as an argument, a dict of them by name, and a counter of their cost."""

from flax_dynconv.models.condinst import (
    FPN,
    INSTANCE_NETWORKS,
    SIZES_OF_INTEREST,
    STRIDES,
    CondInst,
    Detections,
    DynamicMaskHead,
    FCOSHead,
    FlatMaps,
    InstanceMaps,
    MaskBranch,
    condinst,
    detect,
    flatten_maps,
    instance_masks,
    level_locations,
)
from flax_dynconv.models.counting import Layer, Report, count
from flax_dynconv.models.dense_head import DenseHead
from flax_dynconv.models.dm_head import DMHead
from flax_dynconv.models.dynamic_kernels import dynamic_kernels
from flax_dynconv.models.dynet_mobile import DyMobileBlock, dynet_mobilenetv2
from flax_dynconv.models.dynet_mobilenet_v3 import dynet_mobilenetv3_large, dynet_mobilenetv3_small
from flax_dynconv.models.dynet_resnet import dynet_resnet
from flax_dynconv.models.dynet_shufflenet import dynet_shufflenetv2
from flax_dynconv.models.efficientnet import condconv_efficientnet, efficientnet
from flax_dynconv.models.encoder_weights import with_encoder_weights
from flax_dynconv.models.fcn_head import FCNHead
from flax_dynconv.models.feature_info import FeatureInfo, feature_info
from flax_dynconv.models.frame_predictor import FramePredictor
from flax_dynconv.models.frame_predictors import FRAME_PREDICTORS, dfn_highway, dfn_moving_mnist, dfn_stereo
from flax_dynconv.models.hdfnet import HDFNet
from flax_dynconv.models.inverted_residual import InvertedResidual, SqueezeExcite
from flax_dynconv.models.labels import LABELS, decay_mask, param_labels
from flax_dynconv.models.mobile import MobileNet, Stage
from flax_dynconv.models.mobilenet_v2 import condconv_mobilenetv2, dyconv_mobilenetv2, mobilenetv2, odconv_mobilenetv2
from flax_dynconv.models.network import Network, batch_norm, static_conv
from flax_dynconv.models.preprocessing import Preprocessing, preprocess, preprocessing
from flax_dynconv.models.registry import MODELS, create_model, list_models, static_twin
from flax_dynconv.models.residual_blocks import BasicBlock, Bottleneck
from flax_dynconv.models.resnet import ResNet
from flax_dynconv.models.resnets import condconv_resnet, dyconv_resnet, odconv_resnet, resnet
from flax_dynconv.models.saliency_networks import SALIENCY_NETWORKS, hdfnet
from flax_dynconv.models.segmenter import Segmenter
from flax_dynconv.models.segmenters import SEGMENTERS, dmnet_resnet, fcn_resnet
from flax_dynconv.models.shufflenet_block import ShuffleBlock
from flax_dynconv.models.shufflenet_v2 import ShuffleNetV2, shufflenetv2
from flax_dynconv.models.steerable_filter import SteerableFilter
from flax_dynconv.models.steering import steered, steering_kernel
from flax_dynconv.models.untied_conv import UntiedConv
from flax_dynconv.models.vgg import VGG, VGGBlock
from flax_dynconv.models.vggs import vgg

__all__ = [
    'FPN',
    'FRAME_PREDICTORS',
    'INSTANCE_NETWORKS',
    'LABELS',
    'MODELS',
    'SALIENCY_NETWORKS',
    'SEGMENTERS',
    'SIZES_OF_INTEREST',
    'STRIDES',
    'VGG',
    'BasicBlock',
    'Bottleneck',
    'CondInst',
    'DMHead',
    'DenseHead',
    'Detections',
    'DyMobileBlock',
    'DynamicMaskHead',
    'FCNHead',
    'FCOSHead',
    'FeatureInfo',
    'FlatMaps',
    'FramePredictor',
    'HDFNet',
    'InstanceMaps',
    'InvertedResidual',
    'Layer',
    'MaskBranch',
    'MobileNet',
    'Network',
    'Preprocessing',
    'Report',
    'ResNet',
    'Segmenter',
    'ShuffleBlock',
    'ShuffleNetV2',
    'SqueezeExcite',
    'Stage',
    'SteerableFilter',
    'UntiedConv',
    'VGGBlock',
    'batch_norm',
    'condconv_efficientnet',
    'condconv_mobilenetv2',
    'condconv_resnet',
    'condinst',
    'count',
    'create_model',
    'decay_mask',
    'detect',
    'dfn_highway',
    'dfn_moving_mnist',
    'dfn_stereo',
    'dmnet_resnet',
    'dyconv_mobilenetv2',
    'dyconv_resnet',
    'dynamic_kernels',
    'dynet_mobilenetv2',
    'dynet_mobilenetv3_large',
    'dynet_mobilenetv3_small',
    'dynet_resnet',
    'dynet_shufflenetv2',
    'efficientnet',
    'fcn_resnet',
    'feature_info',
    'flatten_maps',
    'hdfnet',
    'instance_masks',
    'level_locations',
    'list_models',
    'mobilenetv2',
    'odconv_mobilenetv2',
    'odconv_resnet',
    'param_labels',
    'preprocess',
    'preprocessing',
    'resnet',
    'shufflenetv2',
    'static_conv',
    'static_twin',
    'steered',
    'steering_kernel',
    'vgg',
    'with_encoder_weights',
]
