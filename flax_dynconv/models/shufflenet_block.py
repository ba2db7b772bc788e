"""The block of ShuffleNetV2: one branch passes by, the other filters, and a shuffle mixes their channels."""

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.network import batch_norm, drop_path, shared_routing, static_conv
from flax_dynconv.models.residual_blocks import square_conv


def channel_shuffle(x, groups=2):
    """Channels (.., C) taken from `groups` equal parts in turn: y[.., i * groups + g] = x[.., g * C / groups + i].

    Raises ValueError for channels that do not divide.

    >>> channel_shuffle(jnp.arange(6)).tolist()
    [0, 3, 1, 4, 2, 5]

    Source: Zhang et al., "ShuffleNet" (CVPR 2018), section 3.1.
    """
    channels = x.shape[-1]
    if channels % groups:
        raise ValueError(f'x must have a multiple of groups = {groups} channels, got shape {x.shape}')
    x = jnp.reshape(x, (*x.shape[:-1], groups, channels // groups))
    return jnp.reshape(jnp.swapaxes(x, -1, -2), (*x.shape[:-2], channels))


def right_channels(features, share):
    """Channels of the right branch of a block of `features` channels, and how many of them a depthwise kernel sees.

    Half of the channels: 1. With a smaller `share` as many as give its 3x3 convolution the cost that it has with
    half of them; the channels are a multiple of that.

    >>> [right_channels(c, 1 / 2) for c in (116, 232)], [right_channels(c, 1 / 4) for c in (116, 232)]
    ([(58, 1), (116, 1)], [(28, 2), (58, 2)])
    """
    right = max(1, int(features * share))
    seen = max(1, features // 2 // right)
    return max(seen, right - right % seen), seen


class ShuffleBlock(nn.Module):
    """y = shuffle(concat(x_left, f(x_right))), f = act(project(depthwise(act(expand(x))))), each with its norm.

    x is split by channels; with `downsample` it is not, and both branches see all of x and give half of the output
    each, the left one by act(left_project(left_depthwise(x))).

    Attributes:
      features: output channels, those of x too unless `downsample`.
      strides, dilation: of the 3x3 convolutions.
      downsample: whether this block changes the channels (the first of a stage, whatever its stride).
      right_share: the part of the channels that the right branch has where x is split: see `right_channels`.
      conv, left_conv: make the convolutions of the right and of the left branch.
      router: routing shared by the convolutions of the right branch, from the input of that branch; see `Network`.
      drop_path: the rate at which the right branch gives zeros for a sample in training.

    Submodules: left_depthwise, left_depthwise_bn, left_project, left_project_bn, expand, expand_bn, depthwise,
    depthwise_bn, project, project_bn, routing.

    Raises ValueError for an x of other than `features` channels unless `downsample`.

    >>> import jax
    >>> block = ShuffleBlock(12, right_share=1 / 4)
    >>> variables = jax.eval_shape(block.init, jax.random.key(0), jnp.zeros((1, 8, 8, 12)))
    >>> jax.tree.map(jnp.shape, {name: variables['params'][name] for name in ('expand', 'depthwise')})
    {'depthwise': {'kernel': (3, 3, 2, 2)}, 'expand': {'kernel': (1, 1, 2, 2)}}

    Source: Ma et al., "ShuffleNet V2" (ECCV 2018), figure 3 (c) and (d); as in torchvision.
    """

    features: int
    strides: int = 1
    downsample: bool = False
    right_share: float = 0.5
    conv: ModuleDef = static_conv
    left_conv: ModuleDef = static_conv
    norm: ModuleDef = batch_norm
    act: ModuleDef = nn.relu
    dilation: int = 1
    router: ModuleDef | None = None
    drop_path: float = 0.0
    train: bool = False

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) to (B, H / strides, W / strides, features)."""
        norm = offer(self.norm, use_running_average=not self.train)
        if not self.downsample and x.shape[-1] != self.features:
            raise ValueError(f'x must have features = {self.features} channels to be split, got shape {x.shape}')
        if self.downsample:
            left, right = self._left(x, norm), x
            channels, seen = right_channels(self.features, 1 / 2)
        else:
            channels, seen = right_channels(self.features, self.right_share)
            left, right = jnp.split(x, [self.features - channels], axis=-1)
        routings = shared_routing(self, right, (channels,) * 3)
        y = square_conv(self.conv, channels, 1, 1, 'expand')(right, *routings[0])
        y = self.act(norm(name='expand_bn')(y))
        y = self._depthwise(self.conv, channels, channels // seen, 'depthwise')(y, *routings[1])
        y = norm(name='depthwise_bn')(y)
        y = square_conv(self.conv, channels, 1, 1, 'project')(y, *routings[2])
        y = self.act(norm(name='project_bn')(y))
        return channel_shuffle(jnp.concatenate((left, drop_path(y, self.drop_path, self.train)), axis=-1))

    def _left(self, x, norm):
        y = self._depthwise(self.left_conv, x.shape[-1], x.shape[-1], 'left_depthwise')(x)
        y = norm(name='left_depthwise_bn')(y)
        y = square_conv(self.left_conv, self.features - self.features // 2, 1, 1, 'left_project')(y)
        return self.act(norm(name='left_project_bn')(y))

    def _depthwise(self, conv, channels, groups, name):
        return square_conv(conv, channels, 3, self.strides, name, self.dilation, groups=groups)
