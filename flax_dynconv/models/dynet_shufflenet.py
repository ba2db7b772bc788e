"""DyNet's ShuffleNetV2, the paper's Dy-shuffle: a quarter of the channels is filtered, by dynamic convolutions."""

import functools

from flax_dynconv.models._methods import dynet_seams
from flax_dynconv.models.shufflenet_v2 import shufflenetv2


def dynet_shufflenetv2(size=1.0, *, num_kernels=6, **fields):
    """Dy-shuffle: the blocks of ShuffleNetV2 split their channels 3:1, the smaller branch is of `DyNetConv`s.

    The coefficients of a block come from the input of its right branch by one linear layer; `num_kernels` is the
    paper's g_t, and 1 scales each output channel of one kernel. The 3x3 convolution on a quarter of the channels has
    groups of two, which cost what a depthwise one on half of them does. Left branches, stem, head and classifier are
    static. `fields` are those of `ShuffleNetV2`.

    The paper leaves open: the first block of a stage, which splits nothing (here both of its branches give half of the
    output, as in ShuffleNetV2, and its right branch is dynamic); a quarter that has no groups of two (29 of 116
    channels; here 28); the shuffle after an unequal split (here of two halves, as in ShuffleNetV2); biases (none, a
    batch norm follows) and the initialisation (that of the static network, for each kernel).

    Multiply-adds at 224x224 without coefficients and mixing, as in the paper's table, where the static network of this
    shape costs the same (`conv=static_conv, router=None` gives it): 93.2e6 for size 1 and 177.4e6 for size 1.5. In
    units of 2**20, the "M" of the paper's ResNets (see `dynet_resnet`), that is 88.9 M (published 88) and 169.2 M
    (171); in millions it would be 6 % and 4 % too much. All that `count` counts: 97.3e6 = 92.8 M (the saving of 37.0 %
    in the abstract of the arXiv version, of 146 M, leaves 92) and 186.9e6. Quarters in the first blocks of the stages
    too would leave about 78e6 and 143e6, too little in either unit.

    Source: Zhang et al., "DyNet: Dynamic Convolution for Accelerating Convolutional Neural Networks"
    (arXiv:2004.10694; figures of the ICLR 2020 submission unless said otherwise). No code was published.

    Raises ValueError for an unknown size, TypeError for a field that `ShuffleNetV2` has not.

    >>> dynet_shufflenetv2(1.5).right_share
    0.25
    """
    return shufflenetv2(size, **{'right_share': 1 / 4, **dynet_seams(num_kernels), **fields})


DYNET_SHUFFLENETS = {
    'dynet_shufflenetv2_100': functools.partial(dynet_shufflenetv2, 1.0),
    'dynet_shufflenetv2_150': functools.partial(dynet_shufflenetv2, 1.5),
}
