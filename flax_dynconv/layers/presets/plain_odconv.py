"""ODConv with a plain linear bottleneck: no norm, no activation, no temperature, and no attention skipped."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._odconv_base import AttendedConv
from flax_dynconv.layers._odconv_routing import ODConvAttention
from flax_dynconv.layers._routing import Routing


class PlainODConvRouting(Routing, kw_only=True):
    """Four attentions of a linear bottleneck: h = mean(x) W + b, then one linear head per attention.

    channel, filter, spatial = sigmoid(h W_c + b_c) and so on, kernel = softmax(h W_w + b_w), over one kernel too. The
    bottleneck has C // squeeze units and nothing between it and the heads.

    x (B, *spatial, C) or pooled (B, C), any real dtype; all attentions in promote_types(dtype, float32).

    Raises ValueError for an x without a batch axis, and where fewer channels come than `squeeze`.

    >>> import jax, jax.numpy as jnp
    >>> routing, x = PlainODConvRouting(12, (3, 3)), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(routing.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])  # doctest: +NORMALIZE_WHITESPACE
    {'channel': {'bias': (8,), 'kernel': (2, 8)}, 'filter': {'bias': (12,), 'kernel': (2, 12)},
     'hidden': {'bias': (2,), 'kernel': (8, 2)}, 'kernel': {'bias': (3,), 'kernel': (2, 3)},
     'spatial': {'bias': (9,), 'kernel': (2, 9)}}

    Source: the attention of the module `ODConv2D` that circulates in PyTorch.
    """

    features: int = dataclasses.field(kw_only=False)
    kernel_size: int | Sequence[int] = dataclasses.field(kw_only=False)
    num_kernels: int = 3
    squeeze: int = 4
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x) -> ODConvAttention:
        """(B, *spatial, C) or (B, C) to the four attentions."""
        size = (self.kernel_size,) if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        x = self.pool(x)
        channels = x.shape[-1]
        if channels < self.squeeze:
            raise ValueError(f'squeeze: expected at most the {channels} channels of x, got {self.squeeze}')
        h = self.linear(x, channels // self.squeeze, 'hidden', self.kernel_init)
        spatial = nn.sigmoid(self.linear(h, math.prod(size), 'spatial', self.kernel_init))
        return ODConvAttention(
            channel=nn.sigmoid(self.linear(h, channels, 'channel', self.kernel_init)),
            filter=nn.sigmoid(self.linear(h, self.features, 'filter', self.kernel_init)),
            spatial=jnp.reshape(spatial, (spatial.shape[0], *size)),
            kernel=nn.softmax(self.linear(h, self.num_kernels, 'kernel', self.kernel_init)),
        )


class PlainODConv(AttendedConv, kw_only=True):
    """ODConv of a linear bottleneck: y[b] = f[b] * conv(c[b] * x[b], s[b] * sum_k w[b,k] W[k]) + bias.

    As `ODConv`, but for K = 3, a bottleneck of Cin // squeeze units with a bias and without norm or activation, no
    temperature, and all four attentions always: also for 1x1 kernels and for one kernel. Groups are not defined.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features); kernel (K, *kernel_size, Cin, Cout),
    bias (Cout,). Dtypes: `nn.Conv`'s rule for y; routing and mixing in promote_types(dtype, float32).

    Attributes (after those of `nn.Conv`, keyword only):
      num_kernels: number of kernels K.
      squeeze: input channels per unit of the bottleneck.
      router: what makes the submodule `routing`, called with the arguments of `PlainODConvRouting`; None is that one.
      padding_mode: 'zeros', 'reflect', 'replicate' or 'circular', for paddings given as amounts.
      implementation: form of `ops.mixture_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError as `ODConv`, and for feature groups.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = PlainODConv(12, (3, 3)), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> sorted(variables['params']['routing'])
    ['channel', 'filter', 'hidden', 'kernel', 'spatial']
    >>> y.shape
    (2, 6, 6, 12)

    Source: equal to the module `ODConv2D` that circulates in PyTorch, at any rank; there the channel attention only
    broadcasts without groups.
    """

    num_kernels: int = 3
    squeeze: int = 4

    @nn.compact
    def __call__(self, x, routing: ODConvAttention | None = None):
        """Convolve x; `routing`, an `ODConvAttention` with x's batch axes, replaces the layer's own."""
        if self.feature_group_count != 1:
            raise ValueError(f'feature_group_count: expected 1 in PlainODConv, got {self.feature_group_count}')
        x, batch = self.split_batch(x)
        kernel, bias = self.declare_kernel(x), self.declare_bias()
        if routing is None:
            settings = {'features': self.features, 'kernel_size': self.kernel_shape, 'squeeze': self.squeeze}
            made = self.routing_module(PlainODConvRouting, **settings)(x)
            attention = self.check_attention(made, x.shape[:1], x.shape[-1])
        else:
            attention = self.check_attention(routing, batch, x.shape[-1])
        return self.convolve_attended(x, batch, kernel, bias, attention)
