"""MobileNetV1 (Howard et al., 2017) and CondConv's study on it."""

import functools

from flax_dynconv.models._construct import construct
from flax_dynconv.models._methods import condconv_seams
from flax_dynconv.models.efficientnet import depthwise_fan_out, tf_batch_norm
from flax_dynconv.models.mobile import MobileNet, Stage

# Table 1 of the paper: a depthwise and a pointwise convolution, an activation after each, no shortcuts.
_TABLE = functools.partial(Stage, expansion=1, residual=False)
STAGES = (_TABLE(64, 1, 1), _TABLE(128, 2, 2), _TABLE(256, 2, 2), _TABLE(512, 6, 2), _TABLE(1024, 2, 2))


def mobilenetv1(**fields):
    """MobileNetV1; `fields` are `MobileNet`'s own. TypeError for one that it has not.

    >>> mobilenetv1(width=0.25, num_classes=10).head_features
    0

    Source: Howard et al., "MobileNets" (arXiv:1704.04861); padding, norms and relu6 as the TensorFlow release.
    """
    settings = {
        'stages': STAGES,
        'head_features': 0,
        'project_act': True,
        'norm': tf_batch_norm,
        'padding': 'SAME',
        'depthwise_init': depthwise_fan_out,
    }
    return construct(MobileNet, {**settings, **fields})


def condconv_mobilenetv1(*, num_kernels=8, **fields):
    """CondConv's MobileNetV1: from the sixth of the 13 blocks on, and the classifier.

    Depthwise and pointwise convolution of a block share one routing. `width` and `num_kernels` (1 to 32) span the
    paper's study, `dynamic_blocks` its study of where to begin.

    Source: Yang et al., "CondConv" (NeurIPS 2019), section 4.1. The paper's text gives the placement; no code of this
    network was published.

    >>> condconv_mobilenetv1(num_kernels=32, width=0.5).dynamic_blocks
    8
    """
    seams = condconv_seams(num_kernels)
    return mobilenetv1(**{**seams, 'dynamic_blocks': 8, 'classifier_conv': seams['conv'], **fields})


_WIDTHS = {'025': 0.25, '050': 0.5, '075': 0.75, '100': 1.0}

MOBILENETS_V1 = {f'mobilenetv1_{name}': functools.partial(mobilenetv1, width=width) for name, width in _WIDTHS.items()}
MOBILENETS_V1['condconv_mobilenetv1_100_8x'] = functools.partial(condconv_mobilenetv1, num_kernels=8)
