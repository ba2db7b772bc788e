"""EfficientNet B0 and B1 (Tan & Le, ICML 2019) and the released CondConv variants."""

import functools
import math

from flax import linen as nn

from flax_dynconv.models._construct import construct
from flax_dynconv.models._methods import condconv_seams
from flax_dynconv.models.mobile import MobileNet, Stage
from flax_dynconv.models.network import batch_norm

# Table 1 of the paper; squeeze-and-excitation has a quarter of the channels of the block's input.
_TABLE = functools.partial(Stage, squeeze=0.25)
STAGES = (
    _TABLE(16, 1, 1, 3, expansion=1),
    _TABLE(24, 2, 2, 3),
    _TABLE(40, 2, 2, 5),
    _TABLE(80, 3, 2, 3),
    _TABLE(112, 3, 1, 5),
    _TABLE(192, 4, 2, 5),
    _TABLE(320, 1, 1, 3),
)
# As TensorFlow's: eps 1e-3, and 0.99 of the running statistics is kept.
tf_batch_norm = functools.partial(batch_norm, momentum=0.99, epsilon=1e-3)
# TensorFlow's N(0, 2 / (kh * kw)): there a depthwise kernel (kh, kw, C, 1) has one output. Here it is (kh, kw, 1, C).
depthwise_fan_out = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')


def efficientnet(*, depth=1.0, **fields):
    """EfficientNet; `depth` multiplies the repeats, `fields` are `MobileNet`'s own. TypeError for one it has not.

    >>> efficientnet(depth=1.1).stages[5].repeats
    5

    Source: Tan & Le, "EfficientNet" (ICML 2019); padding, norms, initialisation and parameter count as the TensorFlow
    release and timm's `tf_efficientnet_b0`. Its training used dropout 0.2 and stochastic depth 0.2 (0.25 and 0.2 for
    the CondConv variants); both are 0 here unless asked for.
    """
    settings = {
        'stages': tuple(stage._replace(repeats=math.ceil(stage.repeats * depth)) for stage in STAGES),
        'norm': tf_batch_norm,
        'act': nn.silu,
        'padding': 'SAME',
        'head_scales': 'always',
        'depthwise_init': depthwise_fan_out,
    }
    return construct(MobileNet, {**settings, **fields})


def condconv_efficientnet(*, num_kernels=8, depth=1.0, **fields):
    """The released CondConv EfficientNet: all blocks of the last three stages, each with one routing.

    Head and classifier are static, unlike in the paper's other networks.

    Source: Yang et al., "CondConv" (NeurIPS 2019); the authors' EfficientNet-CondConv (b0-4e, b0-8e, and b0-8e-depth,
    which timm calls b1_8e), as timm's `tf_efficientnet_cc_*`.

    >>> condconv_efficientnet(num_kernels=4).dynamic_blocks, condconv_efficientnet(depth=1.1).dynamic_blocks
    (8, 11)
    """
    dynamic = sum(math.ceil(stage.repeats * depth) for stage in STAGES[-3:])
    return efficientnet(depth=depth, **{**condconv_seams(num_kernels), 'dynamic_blocks': dynamic, **fields})


EFFICIENTNETS = {
    'efficientnet_b0': efficientnet,
    'efficientnet_b1': functools.partial(efficientnet, depth=1.1),
    'condconv_efficientnet_b0_4e': functools.partial(condconv_efficientnet, num_kernels=4),
    'condconv_efficientnet_b0_8e': functools.partial(condconv_efficientnet, num_kernels=8),
    'condconv_efficientnet_b1_8e': functools.partial(condconv_efficientnet, num_kernels=8, depth=1.1),
}
