"""DyNet's MobileNetV3: the convolutions of all blocks are dynamic."""

from flax_dynconv.models._methods import dynet_seams
from flax_dynconv.models.mobilenet_v3 import mobilenetv3_large, mobilenetv3_small


def dynet_mobilenetv3_small(*, num_kernels=6, **fields):
    """MobileNetV3-Small whose blocks are of `DyNetConv`s, with coefficients from the block's input.

    Unspecified: of this network only its accuracy "at the cost" of the static one is known here, from the abstract of
    the arXiv version. This library's reading keeps the network as it is (channels, squeeze-and-excitation, static stem,
    head and linear layers), makes all convolutions of every block dynamic, depthwise ones too, and predicts the
    coefficients of a block by one linear layer from its input, with the g_t = `num_kernels` = 6 of the paper's other
    networks. `fields` are those of `MobileNet`.

    Multiply-adds at 224x224: 56.5e6 as the static network, 61.0e6 with coefficients and mixing.

    Source: Zhang et al., "DyNet: Dynamic Convolution for Accelerating Convolutional Neural Networks"
    (arXiv:2004.10694). No code was published.

    Raises TypeError for a field that `MobileNet` has not.

    >>> dynet_mobilenetv3_small(num_kernels=4).router.keywords
    {'num_kernels': 4}
    """
    return mobilenetv3_small(**{**dynet_seams(num_kernels), **fields})


def dynet_mobilenetv3_large(*, num_kernels=6, **fields):
    """MobileNetV3-Large, made dynamic as `dynet_mobilenetv3_small` is, and unspecified like that one.

    Multiply-adds at 224x224: 216.6e6 as the static network, 231.8e6 with coefficients and mixing.

    Raises TypeError for a field that `MobileNet` has not.

    >>> len(dynet_mobilenetv3_large().stages)
    15

    Source: as `dynet_mobilenetv3_small`.
    """
    return mobilenetv3_large(**{**dynet_seams(num_kernels), **fields})


DYNET_MOBILENETS_V3 = {
    'dynet_mobilenetv3_small': dynet_mobilenetv3_small,
    'dynet_mobilenetv3_large': dynet_mobilenetv3_large,
}
