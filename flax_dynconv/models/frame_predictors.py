"""The frame predictors of Dynamic Filter Networks as published, and their baselines without filters, by name."""

import functools

from flax_dynconv.models._construct import construct
from flax_dynconv.models.frame_predictor import FramePredictor


def dfn_moving_mnist(**fields):
    """Ten frames of moving digits after ten: 637,361 parameters; the baseline (`filtering=False`) 637,443.

    `fields` are `FramePredictor`'s own, whose defaults these are. TypeError for a name that is no field.

    Source: section 4.2 of arXiv:1605.09673; counts of the authors' repository.

    >>> dfn_moving_mnist(output_frames=5).filter_size
    9
    """
    return construct(FramePredictor, fields)


def dfn_highway(**fields):
    """Three frames of a drive after three, by 11x11 filters and a bias: 368,122 parameters; the baseline 368,245.

    That is for 64x64: the first convolution has a bias at every position.

    Source: section 4.2 of arXiv:1605.09673; counts of the authors' repository.

    >>> dfn_highway().buffer_len
    2
    """
    published = {
        'output_frames': 3,
        'buffer_len': 2,
        'filter_size': 11,
        'dynamic_bias': True,
        'encoder': (32, 32, 64),
        'state': 64,
        'decoder': (64,),
        'upsampled': (32, 64),
        'untied': ('enc_0',),
    }
    return construct(FramePredictor, published | fields)


def dfn_stereo(**fields):
    """The right view after the left one, by horizontal 1x13 filters and a bias: 464,494 parameters, 464,509.

    No recurrence. The counts, of the network and of its baseline, are for 64x64: mid has a bias at every position.

    Source: section 4.3 of arXiv:1605.09673; counts of the authors' repository.

    >>> dfn_stereo().recurrent
    False
    """
    published = {
        'output_frames': 1,
        'filter_size': (1, 13),
        'dynamic_bias': True,
        'recurrent': False,
        'untied': ('mid',),
    }
    return construct(FramePredictor, published | fields)


_NETWORKS = {'dfn_moving_mnist': dfn_moving_mnist, 'dfn_highway': dfn_highway, 'dfn_stereo': dfn_stereo}
# name -> constructor that takes FramePredictor's fields as keywords; a baseline has as many layers and no filters
FRAME_PREDICTORS = _NETWORKS | {
    f'{name}_baseline': functools.partial(make, filtering=False) for name, make in _NETWORKS.items()
}
