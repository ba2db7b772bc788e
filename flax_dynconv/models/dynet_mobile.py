"""DyNet's MobileNetV2, the paper's Dy-mobile: blocks of three dynamic convolutions that do not expand."""

from flax import linen as nn

from flax_dynconv.models._methods import dynet_seams
from flax_dynconv.models._seams import offer
from flax_dynconv.models.inverted_residual import InvertedResidual
from flax_dynconv.models.mobilenet_v2 import mobilenetv2
from flax_dynconv.models.network import drop_path, shared_routing
from flax_dynconv.models.residual_blocks import square_conv

# Channels in a group of the 3x3 convolution: as many as MobileNetV2 expands one channel to, so that it costs the same.
GROUP = 6


class DyMobileBlock(InvertedResidual):
    """y = project(act(depthwise(act(expand(x))))), plus x where shapes allow; all three have the output's channels.

    `features` is enlarged to a multiple of 6, and the 3x3 convolution has groups of 6 channels. The fields are those
    of `InvertedResidual`; `expanded` and `expand` have no meaning here, nothing is expanded.

    Raises ValueError for `squeeze` other than 0.

    >>> import jax, jax.numpy as jnp
    >>> block = DyMobileBlock(features=16, expanded=0)
    >>> variables = jax.eval_shape(block.init, jax.random.key(0), jnp.zeros((1, 8, 8, 32)))
    >>> names = ('expand', 'depthwise', 'project')
    >>> [variables['params'][name]['kernel'].shape for name in names]
    [(1, 1, 32, 18), (3, 3, 6, 18), (1, 1, 18, 18)]

    Source: section 3 of arXiv:2004.10694; see `dynet_mobilenetv2`.
    """

    @nn.compact
    def __call__(self, x, train=None):
        """(B, H, W, C) to (B, H / strides, W / strides, features as a multiple of 6)."""
        if self.squeeze:
            raise ValueError(f'squeeze must be 0, a DyMobileBlock has no squeeze-and-excitation; got {self.squeeze}')
        train = self.train if train is None else train
        norm = offer(self.norm, use_running_average=not train)
        features = self.features + -self.features % GROUP
        routings = shared_routing(self, x, (features,) * 3)
        y = square_conv(self.conv, features, 1, 1, 'expand')(x, *routings[0])
        y = self.act(norm(name='expand_bn')(y))
        y = self._depthwise(features, groups=features // GROUP)(y, *routings[1])
        y = self.act(norm(name='depthwise_bn')(y))
        y = square_conv(self.conv, features, 1, 1, 'project')(y, *routings[2])
        y = norm(name='project_bn')(y)
        if self.project_act:
            y = self.act(y)
        if self.residual and self.strides == 1 and x.shape == y.shape:
            y = x + drop_path(y, self.drop_path, train)
        return y


def dynet_mobilenetv2(*, num_kernels=6, **fields):
    """Dy-mobile: MobileNetV2's stages with `DyMobileBlock`s of `DyNetConv`s, stem, head and classifier static.

    The coefficients of a block come from the block's input by one linear layer; `num_kernels` is the paper's g_t, and 1
    scales each output channel of one kernel. Stages have 18, 24, 36, 66, 96, 162 and 324 channels at width 1. `fields`
    are those of `MobileNet`. (The paper's "Dy-MobileNetV2" is another network, which it only analyses: MobileNetV2
    with its own channels, its convolutions made dynamic. It is `mobilenetv2` with the seams `conv` and `router` of this
    network.)

    The paper leaves open: the block that MobileNetV2 does not expand (here like all others); the activations (here
    MobileNetV2's); biases (none, a batch norm follows) and the initialisation (MobileNetV2's, for each kernel).

    Multiply-adds at 224x224, published 129 M, the same for the static network of this shape (here with
    `conv=static_conv, router=None`): 130.5e6. All that `count` counts: 136.4e6 (the saving of 54.7 % in the abstract of
    the arXiv version, of 298 M, leaves 135). These are millions, where the paper's ResNets have units of 2**20 (see
    `dynet_resnet`): in those it would be 124.5 M, 3.5 % too little, and MobileNetV2 286.8 M instead of 298.

    Source: Zhang et al., "DyNet: Dynamic Convolution for Accelerating Convolutional Neural Networks"
    (arXiv:2004.10694; figures of the ICLR 2020 submission unless said otherwise). No code was published.

    Raises TypeError for a field that `MobileNet` has not.

    >>> dynet_mobilenetv2(width=0.5).conv.keywords['num_kernels']
    6
    """
    return mobilenetv2(**{'block': DyMobileBlock, **dynet_seams(num_kernels), **fields})


DYNET_MOBILES = {'dynet_mobilenetv2': dynet_mobilenetv2}
