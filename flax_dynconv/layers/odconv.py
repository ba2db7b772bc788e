"""ODConv (Li, Zhou & Yao, ICLR 2022): attention over input channels, filters, taps and kernels at once."""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from flax_dynconv.layers._odconv_base import AttendedConv
from flax_dynconv.layers._odconv_routing import ODConvAttention, ODConvRouting, skipped_attentions
from flax_dynconv.layers._routing import kaiming_fan_out


class ODConv(AttendedConv, kw_only=True):
    """Omni-dimensional dynamic convolution: y[b] = f[b] * conv(c[b] * x[b], s[b] * sum_k w[b,k] W[k]) + bias.

    c (B, Cin), f (B, Cout), s (B, *kernel_size) are sigmoids and w (B, K) a softmax of a bottleneck of mean(x): see
    `ODConvRouting`, also for which of them is skipped when. A drop-in for `nn.Conv`: its 14 leading fields, 1, 2 or 3
    spatial dimensions, any batch axes, channels last. Its batch norm uses and updates batch statistics exactly when
    'batch_stats' is mutable, so that a network need not know of it. Training starts with a large temperature and
    ends with 1: `set_temperature`.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features); kernel (K, *kernel_size, Cin/g, Cout),
    bias (Cout,), static, added last and not scaled. Dtypes: `nn.Conv`'s rule for y; routing and mixing in
    promote_types(dtype, float32). A 1x1 convolution with K = 1 is a static one between its two scales.

    Attributes (after those of `nn.Conv`, keyword only):
      num_kernels: number of kernels K.
      reduction, min_hidden: hidden size of the attention, max(int(Cin * reduction), min_hidden).
      norm: makes the norm of the bottleneck; None: the paper's batch norm; `nn.LayerNorm`, `NoNorm` or any partial
        of a norm otherwise.
      router: what makes the submodule `routing`, called with the arguments of `ODConvRouting`; None is that one.
      padding_mode: 'zeros', 'reflect', 'replicate' or 'circular', for paddings given as amounts.
      implementation: form of `ops.mixture_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError for a mask, an int kernel_size with a 4-D input, channels that do not fit the groups, a routing
    of other shapes; what else the operator refuses, it names. Warns where its batch norm trains on a batch of 1.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = ODConv(12, (3, 3)), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])  # doctest: +NORMALIZE_WHITESPACE
    {'bias': (12,), 'kernel': (4, 3, 3, 8, 12),
     'routing': {'channel': {'bias': (8,), 'kernel': (16, 8)}, 'filter': {'bias': (12,), 'kernel': (16, 12)},
                 'hidden': {'kernel': (8, 16)}, 'kernel': {'bias': (4,), 'kernel': (16, 4)},
                 'norm': {'bias': (16,), 'scale': (16,)}, 'spatial': {'bias': (9,), 'kernel': (16, 9)}}}
    >>> y.shape
    (2, 6, 6, 12)
    >>> train = lambda variables, x: layer.apply(variables, x, mutable=['batch_stats'])
    >>> y, updated = jax.eval_shape(train, variables, x)
    >>> jax.tree.map(jnp.shape, updated)
    {'batch_stats': {'routing': {'norm': {'mean': (16,), 'var': (16,)}}}}

    Source: arXiv:2209.07947; equal to `ODConv2d` of OSVAI/ODConv, in evaluation, in training and in the running
    statistics. That layer has no bias: `use_bias=False`.
    """

    reduction: float = 1 / 16
    min_hidden: int = 16
    norm: Callable[..., Any] | None = None
    kernel_init: Callable[..., Any] = dataclasses.field(default=kaiming_fan_out, kw_only=False)

    @nn.compact
    def __call__(self, x, routing: ODConvAttention | None = None):
        """Convolve x; `routing`, an `ODConvAttention` with x's batch axes, replaces the layer's own."""
        x, batch = self.split_batch(x)
        kernel, bias = self.declare_kernel(x), self.declare_bias()
        if routing is None:
            attention = self.check_attention(self.attend(x), x.shape[:1], x.shape[-1])
        else:
            attention = self.check_attention(routing, batch, x.shape[-1])
        return self.convolve_attended(x, batch, kernel, bias, attention)

    def skipped(self, channels) -> set:
        """Names of the attentions that this layer has not, for an input of so many channels."""
        return skipped_attentions(
            channels, self.features, self.feature_group_count, self.kernel_shape, self.num_kernels
        )

    def attend(self, x) -> ODConvAttention:
        """The layer's own attentions of x (B, *spatial, Cin)."""
        return self.routing_module(
            ODConvRouting,
            features=self.features,
            kernel_size=self.kernel_shape,
            feature_group_count=self.feature_group_count,
            reduction=self.reduction,
            min_hidden=self.min_hidden,
            norm=self.norm,
        )(x)
