"""DyNet's ResNets: every convolution of the blocks is dynamic and has half of its output channels."""

import functools

from flax_dynconv.models._methods import dynet_seams
from flax_dynconv.models.resnets import DEPTHS, resnet


def dynet_resnet(depth, *, num_kernels=6, reduction=1 / 4, min_hidden=8, **fields):
    """Dy-ResNet: half of the channels in every residual block, all of whose convolutions are `DyNetConv`.

    The coefficients of a block come from the block's input by two linear layers, the hidden one with Cin * `reduction`
    units, but not fewer than `min_hidden`: the published networks have at least 8, and in narrow ones a few units might
    all be 0 for every image, since behind a ReLU the pooled inputs are positive and differ little. `num_kernels` is the
    paper's g_t, and 1 scales each output channel of one kernel. Shortcuts, classifier and stem (with its 64 channels)
    are static. `fields` are those of `ResNet`.

    The paper leaves open: how a shortcut meets the halved output (here a block as a whole has half of the channels, so
    that the next one reads half, and the first block after the stem needs a projected shortcut too); whether projected
    shortcuts are dynamic (here static); the activation between the two linear layers (here a ReLU); biases (none, a
    batch norm follows) and the initialisation (the static networks', for each kernel).

    Multiply-adds at 224x224. The paper's "M" of the ResNets is 2**20: its 1730 M for the static ResNet-18 are exactly
    that network's 1814.1e6. Its table counts neither coefficients nor mixing: it lists the static networks of a dynamic
    one's shape (here `conv=static_conv, router=None`) at the same cost. So counted, depth 18 has 577.5e6 = 550.7 M
    (published 550) and depth 50 1127.4e6 = 1075.1 M (1075). All that `count` counts: 594.4e6 = 566.9 M and 1169.1e6 =
    1115.0 M, which are the savings of 67.2 % and 71.3 % in the abstract of the arXiv version.

    Source: Zhang et al., "DyNet: Dynamic Convolution for Accelerating Convolutional Neural Networks"
    (arXiv:2004.10694; figures of the ICLR 2020 submission unless said otherwise). No code was published.

    Raises ValueError for an unknown depth, TypeError for a field that `ResNet` has not.

    >>> model = dynet_resnet(18)
    >>> model.stem_features, model.features
    (64, 32)
    """
    stem = DEPTHS.get(depth, {}).get('features', 64)
    seams = dynet_seams(num_kernels, reduction=reduction, min_hidden=min_hidden)
    return resnet(depth, **{'features': stem // 2, 'stem_features': stem, **seams, **fields})


DYNET_RESNETS = {f'dynet_resnet{depth}': functools.partial(dynet_resnet, depth) for depth in (18, 50)}
# For small images nothing is published. Here the blocks keep the channels of `resnet20`: more kernels at equal width,
# as the other methods' networks have, and not the paper's equal accuracy at less cost.
DYNET_RESNETS['dynet_resnet20'] = functools.partial(dynet_resnet, 20, features=16)
