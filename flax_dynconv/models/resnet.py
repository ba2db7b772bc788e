"""ResNet (He et al., CVPR 2016) with seams for its convolutions, its norm, its activation and its width."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import BatchNorm
from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.residual_blocks import BasicBlock, square_conv

# N(0, 2 / (kh * kw * Cout)): what torchvision and ODConv's networks draw for static convolutions.
he_fan_out = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
static_conv = functools.partial(nn.Conv, kernel_init=he_fan_out)
batch_norm = functools.partial(BatchNorm, momentum=0.9, epsilon=1e-5)

STEMS = ('imagenet', 'cifar')


class ResNet(nn.Module):
    """A residual network for images (B, H, W, C) that returns logits (B, num_classes) in the computation dtype.

    stem -> stages of blocks, each stage after the first halving the map and doubling the width -> mean over the map
    -> dropout -> `fc`. With `num_classes=0` the pooled features (B, C) are returned and there is no `fc`.

    Seams: `conv` makes the convolutions of the blocks, `stem_conv` the first one, `downsample_conv` the 1x1 of the
    shortcuts; each is called with `nn.Conv`'s keywords (features, kernel_size, strides, padding, use_bias, dtype,
    param_dtype, name). `norm` is called with `name`, and with `dtype`, `param_dtype` and `use_running_average` if it
    has them; a `conv` with a field `norm` (ODConv's routing) is given a BatchNorm in the same mode. `width`
    multiplies the channels of every stage. Submodules are named as in torchvision, dots replaced by underscores.

    Raises ValueError for an unknown `stem`, a `width` that is not positive or an input that is not (B, H, W, C).

    >>> import jax
    >>> model = ResNet(stage_sizes=(1, 1), features=4, num_classes=3, stem='cifar')
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> sorted(variables['params'])
    ['bn1', 'conv1', 'fc', 'layer1_0', 'layer2_0']
    >>> sorted(variables['params']['layer2_0'])
    ['bn1', 'bn2', 'conv1', 'conv2', 'downsample_0', 'downsample_1']
    >>> model.apply(variables, jnp.ones((2, 8, 8, 1)), train=False).shape
    (2, 3)

    Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); strides and padding as torchvision.
    """

    stage_sizes: Sequence[int]
    block: ModuleDef = BasicBlock
    num_classes: int = 1000
    width: float = 1.0
    features: int = 64
    stem: str = 'imagenet'
    conv: ModuleDef = static_conv
    norm: ModuleDef = batch_norm
    act: ModuleDef = nn.relu
    stem_conv: ModuleDef = static_conv
    downsample_conv: ModuleDef = static_conv
    stride_in_1x1: bool = False
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train=False):
        """Images (B, H, W, C) to logits; `train` uses batch statistics (make 'batch_stats' mutable) and dropout."""
        self._check(x)
        norm = self._in_mode(self.norm, train)
        block = functools.partial(
            self.block,
            conv=self._in_mode(self.conv, train),
            norm=norm,
            act=self.act,
            downsample_conv=self._in_mode(self.downsample_conv, train),
            stride_in_1x1=self.stride_in_1x1,
        )
        imagenet = self.stem == 'imagenet'
        stem_conv = self._in_mode(self.stem_conv, train)
        x = square_conv(stem_conv, self._stage_features(0), 7 if imagenet else 3, 2 if imagenet else 1, 'conv1')(x)
        x = self.act(norm(name='bn1')(x))
        if imagenet:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, size in enumerate(self.stage_sizes):
            for i in range(size):
                strides = 2 if stage > 0 and i == 0 else 1
                x = block(self._stage_features(stage), strides, name=f'layer{stage + 1}_{i}')(x)
        x = jnp.mean(x, axis=(1, 2))
        if not self.num_classes:
            return x
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name='fc',
        )(x)

    def _stage_features(self, stage):
        return max(1, round(self.features * self.width)) * 2**stage

    def _in_mode(self, constructor, train):
        """`constructor` in this network's dtypes and mode; a routing norm follows the mode of the network's own."""
        routing_norm = functools.partial(batch_norm, use_running_average=not train, param_dtype=self.param_dtype)
        return offer(
            constructor,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            use_running_average=not train,
            norm=routing_norm,
        )

    def _check(self, x):
        if self.stem not in STEMS:
            raise ValueError(f"stem must be one of {STEMS}, got '{self.stem}'")
        if not self.width > 0:
            raise ValueError(f'width must be a positive multiplier, got {self.width}')
        if x.ndim != 4:
            raise ValueError(f'x must have shape (batch, height, width, channels), got {x.shape}')
