"""A residual network written for `nn.Conv` and `nn.BatchNorm`: it knows nothing of dynamic convolutions."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn


class Block(nn.Module):
    features: int
    conv: Any
    norm: Any
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        y = self.conv(self.features, (3, 3), self.strides, name='conv_a')(x)
        y = nn.relu(self.norm(name='norm_a')(y))
        y = self.norm(name='norm_b', scale_init=nn.initializers.zeros_init())(self.conv(self.features, (3, 3))(y))
        if x.shape != y.shape:
            x = self.norm(name='norm_proj')(self.conv(self.features, (1, 1), self.strides, name='conv_proj')(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Images (B, H, W, C) to logits in float32."""

    num_classes: int = 3
    features: int = 4
    dtype: Any = jnp.float32
    conv: Any = nn.Conv

    @nn.compact
    def __call__(self, x, train: bool = True):
        conv = partial(self.conv, use_bias=False, dtype=self.dtype)
        norm = partial(
            nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype, axis_name=None
        )
        x = conv(self.features, (3, 3), (2, 2), padding=[(1, 1), (1, 1)], name='conv_init')(x)
        x = nn.relu(norm(name='norm_init')(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding='SAME')
        x = Block(2 * self.features, conv=conv, norm=norm, strides=(2, 2))(x)
        x = nn.Dense(self.num_classes, dtype=self.dtype)(jnp.mean(x, axis=(1, 2)))
        return jnp.asarray(x, jnp.float32)
