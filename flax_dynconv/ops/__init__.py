"""Operators: pure JAX, arrays in, arrays out."""

from flax_dynconv.ops.choice.autotune import Autotune
from flax_dynconv.ops.conv_general_dilated import conv_general_dilated
from flax_dynconv.ops.explain import Explanation, explain
from flax_dynconv.ops.instance_head import instance_head, split_parameters
from flax_dynconv.ops.mixture_conv import mixture_conv
from flax_dynconv.ops.per_position_conv import per_position_conv
from flax_dynconv.ops.per_sample_conv import per_sample_conv

__all__ = [
    'Autotune',
    'Explanation',
    'conv_general_dilated',
    'explain',
    'instance_head',
    'mixture_conv',
    'per_position_conv',
    'per_sample_conv',
    'split_parameters',
]
