"""The two blocks of the ResNets: basic and bottleneck."""

from flax import linen as nn

from flax_dynconv.models._seams import ModuleDef
from flax_dynconv.models.network import drop_path, shared_routing


def square_conv(conv, features, size, strides, name, dilation=1, groups=1, padding=None):
    """A bias-free convolution with PyTorch's symmetric padding: 'SAME' would pad strided ones on one side only.

    `padding`, if given, replaces that: 'SAME' is TensorFlow's.
    """
    pad = dilation * (size - 1) // 2
    return conv(
        features=features,
        kernel_size=(size, size),
        strides=(strides, strides),
        padding=((pad, pad), (pad, pad)) if padding is None else padding,
        kernel_dilation=(dilation, dilation),
        feature_group_count=groups,
        use_bias=False,
        name=name,
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: y = act(x' + bn2(conv2(act(bn1(conv1(x)))))), x' projected if it must be.

    As torchvision's block but for `dilation`, which that one refuses. Where a stride has become a dilation, the
    convolution in its place sees the dilation from before and the second one, which comes after it, `next_dilation`
    (None: the same): the values are then those of the strided network and those between them.

    >>> import functools, jax, jax.numpy as jnp
    >>> from flax_dynconv.models.network import batch_norm, static_conv
    >>> seams = {'norm': functools.partial(batch_norm, use_running_average=True), 'act': nn.relu}
    >>> block = BasicBlock(8, 2, conv=static_conv, downsample_conv=static_conv, **seams)
    >>> jax.eval_shape(block.init_with_output, jax.random.key(0), jnp.ones((1, 6, 6, 4)))[0].shape
    (1, 3, 3, 8)

    Source: He et al. (CVPR 2016), figure 5 left.
    """

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef
    act: ModuleDef
    downsample_conv: ModuleDef
    stride_in_1x1: bool = False  # of no meaning here; there so that both blocks are built alike
    dilation: int = 1
    next_dilation: int | None = None
    router: ModuleDef | None = None
    drop_path: float = 0.0
    train: bool = False

    expansion = 1

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) to (B, H / strides, W / strides, features)."""
        first, second = shared_routing(self, x, (self.features, self.features))
        y = square_conv(self.conv, self.features, 3, self.strides, 'conv1', self.dilation)(x, *first)
        y = self.act(self.norm(name='bn1')(y))
        y = square_conv(self.conv, self.features, 3, 1, 'conv2', self.next_dilation or self.dilation)(y, *second)
        y = self.norm(name='bn2')(y)
        return self.act(drop_path(y, self.drop_path, self.train) + _shortcut(self, x, self.features))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the output has four times `features`.

    The stride sits on the 3x3 convolution, as in torchvision and in ODConv's networks; `stride_in_1x1=True` puts it
    on the first 1x1, as in the 2015 paper (and in the multiply-adds that the ODConv paper publishes). The 3x3 is then
    what comes after the stride: see `BasicBlock` for `next_dilation`.

    >>> import functools, jax, jax.numpy as jnp
    >>> from flax_dynconv.models.network import batch_norm, static_conv
    >>> seams = {'norm': functools.partial(batch_norm, use_running_average=True), 'act': nn.relu}
    >>> block = Bottleneck(8, 2, conv=static_conv, downsample_conv=static_conv, **seams)
    >>> jax.eval_shape(block.init_with_output, jax.random.key(0), jnp.ones((1, 6, 6, 4)))[0].shape
    (1, 3, 3, 32)

    Source: He et al. (CVPR 2016), figure 5 right.
    """

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef
    act: ModuleDef
    downsample_conv: ModuleDef
    stride_in_1x1: bool = False
    dilation: int = 1
    next_dilation: int | None = None
    router: ModuleDef | None = None
    drop_path: float = 0.0
    train: bool = False

    expansion = 4

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) to (B, H / strides, W / strides, 4 * features)."""
        outputs = self.features * self.expansion
        routings = shared_routing(self, x, (self.features, self.features, outputs))
        first, second = (self.strides, 1) if self.stride_in_1x1 else (1, self.strides)
        y = square_conv(self.conv, self.features, 1, first, 'conv1')(x, *routings[0])
        y = self.act(self.norm(name='bn1')(y))
        dilation = self.next_dilation or self.dilation if self.stride_in_1x1 else self.dilation
        y = square_conv(self.conv, self.features, 3, second, 'conv2', dilation)(y, *routings[1])
        y = self.act(self.norm(name='bn2')(y))
        y = square_conv(self.conv, outputs, 1, 1, 'conv3')(y, *routings[2])
        y = self.norm(name='bn3')(y)
        return self.act(drop_path(y, self.drop_path, self.train) + _shortcut(self, x, outputs))


def _shortcut(block, x, features):
    """x itself, or its strided 1x1 projection where shape or width change."""
    if block.strides == 1 and x.shape[-1] == features:
        return x
    x = square_conv(block.downsample_conv, features, 1, block.strides, 'downsample_0')(x)
    return block.norm(name='downsample_1')(x)
