"""The published VGGs with batch norms, and a small one."""

import functools

from flax_dynconv.models._construct import construct
from flax_dynconv.models.vgg import VGG

# 8 is for small images: one convolution in each stage, few channels and one bin.
_DEPTHS = {
    8: {'stage_sizes': (1, 1, 1, 1, 1), 'features': 16, 'hidden_features': 128, 'bins': 1},
    16: {'stage_sizes': (2, 2, 3, 3, 3)},
    19: {'stage_sizes': (2, 2, 4, 4, 4)},
}


def vgg(depth, **fields):
    """`VGG` of depth 8, 16 or 19; `fields` are `VGG`'s own. ValueError for another depth, TypeError for a field.

    >>> vgg(16, num_classes=10).stage_sizes
    (2, 2, 3, 3, 3)
    """
    if depth not in _DEPTHS:
        raise ValueError(f'depth must be one of {sorted(_DEPTHS)}, got {depth}')
    return construct(VGG, {**_DEPTHS[depth], **fields})


VGGS = {f'vgg{depth}_bn': functools.partial(vgg, depth) for depth in _DEPTHS}
