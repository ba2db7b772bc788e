"""Dynamic Convolution, DY-CNN (Chen et al., CVPR 2020): kernels mixed by a softmax attention with a temperature."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from flax_dynconv.layers._base import MixingConv
from flax_dynconv.layers._routing import Routing, kaiming_fan_out
from flax_dynconv.layers.temperature import read_temperature


class DynamicConvRouting(Routing, kw_only=True):
    """Attention over kernels: pi = softmax((relu(mean(x) W1) W2 + b2) / T), which sums to 1.

    x (B, *spatial, C) or pooled (B, C), any real dtype; pi (B, K) in promote_types(dtype, float32). The hidden size
    is int(C * reduction) + 1, and K for the 3 channels of an image. T is the variable 'value' of the collection
    'temperature', 1.0 where it is absent (see `set_temperature`).

    Attributes:
      reduction: hidden size as a fraction of the channels.
      use_bias: whether the second linear map has a bias (the first never has): True as in the 1-D and 2-D reference,
        False as in the 3-D one.

    Raises ValueError for an x without a batch axis.

    >>> import jax, jax.numpy as jnp
    >>> routing, x = DynamicConvRouting(num_kernels=4), jnp.ones((2, 6, 6, 16))
    >>> y, variables = routing.init_with_output(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])
    {'hidden': {'kernel': (16, 5)}, 'logits': {'bias': (4,), 'kernel': (5, 4)}}
    >>> y.shape, round(float(y.sum()), 6)
    ((2, 4), 2.0)

    Source: section 3 of arXiv:1912.03458; sizes, biases and initialisation as kaijieshi7/Dynamic-convolution-Pytorch.
    """

    reduction: float = 0.25
    use_bias: bool = True
    kernel_init: Callable[..., Any] = kaiming_fan_out

    @nn.compact
    def __call__(self, x):
        """(B, *spatial, C) or (B, C) to attentions (B, K)."""
        x = self.pool(x)
        channels = x.shape[-1]
        if not self.reduction >= 0:
            raise ValueError(f'reduction: expected a number >= 0, got {self.reduction}')
        hidden = self.num_kernels if channels == 3 else int(channels * self.reduction) + 1
        x = nn.relu(self.linear(x, hidden, 'hidden', self.kernel_init, use_bias=False))
        logits = self.linear(x, self.num_kernels, 'logits', self.kernel_init, use_bias=self.use_bias)
        return nn.softmax(logits / read_temperature(self))


class DynamicConv(MixingConv, kw_only=True):
    """Convolution with attention over kernels: y[b] = conv(x[b], sum_k pi[b,k] W[k]) + sum_k pi[b,k] c[k].

    pi = softmax((relu(mean(x) W1) W2 + b2) / T). A drop-in for `nn.Conv`: its 14 leading fields, 1, 2 or 3 spatial
    dimensions, any batch axes, channels last. Training starts with a large T, so that all kernels learn, and ends
    with 1: `set_temperature`.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features); kernel (K, *kernel_size, Cin/g, Cout),
    bias (K, Cout). Dtypes: `nn.Conv`'s rule for y; routing and mixing in promote_types(dtype, float32).

    Attributes (after those of `nn.Conv`, keyword only):
      num_kernels: number of kernels K.
      reduction: hidden size of the attention as a fraction of the channels.
      router: what makes the submodule `routing`, called with the arguments of `DynamicConvRouting`; None is that one.
      padding_mode: 'zeros', 'reflect', 'replicate' or 'circular', for paddings given as amounts.
      implementation: form of `ops.mixture_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError for a mask, an int kernel_size with a 4-D input, channels that do not fit the groups, a routing
    of another shape; what else the operator refuses, it names.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = DynamicConv(4, (3, 3)), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])  # doctest: +NORMALIZE_WHITESPACE
    {'bias': (4, 4), 'kernel': (4, 3, 3, 8, 4),
     'routing': {'hidden': {'kernel': (8, 3)}, 'logits': {'bias': (4,), 'kernel': (3, 4)}}}
    >>> y.shape
    (2, 6, 6, 4)

    Source: arXiv:1912.03458; equal to `Dynamic_conv{1,2,3}d` of kaijieshi7/Dynamic-convolution-Pytorch (3-D: with
    `router=partial(DynamicConvRouting, use_bias=False)`), whose temperature starts at 34 where this one is 1.
    """

    reduction: float = 0.25
    kernel_init: Callable[..., Any] = dataclasses.field(default=nn.initializers.he_uniform(), kw_only=False)

    @nn.compact
    def __call__(self, x, routing: jax.Array | None = None):
        """Convolve x; `routing` (*batch, K), given after its softmax, replaces the layer's own."""
        x, batch = self.split_batch(x)
        kernel, bias = self.declare_kernel(x), self.declare_bias_bank()
        weights = self.kernel_weights(
            x, batch, routing, DynamicConvRouting, (self.num_kernels,), reduction=self.reduction
        )
        return self.convolve(x, batch, kernel, bias, weights)
