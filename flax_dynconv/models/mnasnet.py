"""MnasNet-A1 (Tan et al., CVPR 2019) and CondConv's form of it."""

import functools

from flax import linen as nn

from flax_dynconv.models._construct import construct
from flax_dynconv.models._methods import condconv_seams
from flax_dynconv.models.efficientnet import depthwise_fan_out, tf_batch_norm
from flax_dynconv.models.mobile import MobileNet, Stage

# Figure 7 of the paper; squeeze-and-excitation has a quarter of the channels of the block's input.
STAGES = (
    Stage(16, 1, 1, 3, expansion=1),
    Stage(24, 2, 2, 3),
    Stage(40, 3, 2, 5, expansion=3, squeeze=0.25),
    Stage(80, 4, 2, 3),
    Stage(112, 2, 1, 3, squeeze=0.25),
    Stage(160, 3, 2, 5, squeeze=0.25),
    Stage(320, 1, 1, 3),
)


def mnasnet_a1(**fields):
    """MnasNet-A1; `fields` are `MobileNet`'s own. TypeError for one that it has not.

    >>> mnasnet_a1(num_classes=10).stages[2].kernel_size
    5

    Source: Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (CVPR 2019); parameter count as
    timm's `semnasnet_100`, padding and norms as TensorFlow's.
    """
    settings = {
        'stages': STAGES,
        'norm': tf_batch_norm,
        'act': nn.relu,
        'padding': 'SAME',
        'head_scales': 'never',
        'depthwise_init': depthwise_fan_out,
    }
    return construct(MobileNet, {**settings, **fields})


def condconv_mnasnet_a1(*, num_kernels=8, **fields):
    """CondConv's MnasNet-A1: the blocks of the last three groups, each with one routing, and the classifier.

    Source: Yang et al., "CondConv" (NeurIPS 2019), section 4.1. The paper's text gives the placement; no code of this
    network was published.

    >>> condconv_mnasnet_a1().dynamic_blocks
    6
    """
    seams = condconv_seams(num_kernels)
    return mnasnet_a1(**{**seams, 'dynamic_blocks': 6, 'classifier_conv': seams['conv'], **fields})


MNASNETS = {'mnasnet_a1': mnasnet_a1, 'condconv_mnasnet_a1_8x': functools.partial(condconv_mnasnet_a1, num_kernels=8)}
