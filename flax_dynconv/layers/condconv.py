"""CondConv (Yang et al., NeurIPS 2019): experts mixed by sigmoids of the pooled input, routing shared by a block."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._base import MixingConv
from flax_dynconv.layers._routing import Routing


class CondConvRouting(Routing, kw_only=True):
    """One weight per expert: r = sigmoid(mean(x) A + a).

    x (B, *spatial, C) or pooled (B, C), any real dtype; r (B, K) in promote_types(dtype, float32). CondConv computes
    it once per block, from the block's input, and passes it to all convolutions of the block.

    Raises ValueError for an x without a batch axis.

    >>> import jax, jax.numpy as jnp
    >>> routing, x = CondConvRouting(num_kernels=8), jnp.ones((2, 6, 6, 16))
    >>> y, variables = jax.eval_shape(routing.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'bias': (8,), 'kernel': (16, 8)}}
    >>> y.shape
    (2, 8)

    Source: section 3 of arXiv:1904.04971; parameters as the routing function of the authors' EfficientNet-CondConv.
    """

    num_kernels: int = 8
    kernel_init: Callable[..., Any] = nn.initializers.glorot_uniform()

    @nn.compact
    def __call__(self, x):
        """(B, *spatial, C) or (B, C) to routing weights (B, K)."""
        x = self.pool(x)
        kernel = self.param('kernel', self.kernel_init, (x.shape[-1], self.num_kernels), self.param_dtype)
        bias = self.param('bias', nn.initializers.zeros_init(), (self.num_kernels,), self.param_dtype)
        logits = jnp.matmul(x, kernel.astype(x.dtype), precision=self.full_precision)
        return nn.sigmoid(logits + bias.astype(x.dtype)[None])

    def multiply_adds(self, x_shape, y_shape) -> int:
        """Multiply-adds per sample: C * K."""
        return x_shape[-1] * y_shape[-1]


class CondConv(MixingConv, kw_only=True):
    """Conditionally parameterised convolution: y[b] = conv(x[b], sum_k r[b,k] W[k]) + sum_k r[b,k] c[k].

    r = sigmoid(mean(x) A + a): independent sigmoids, not normalised. A drop-in for `nn.Conv`: its 14 leading fields,
    1, 2 or 3 spatial dimensions, any batch axes, channels last.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features); kernel (K, *kernel_size, Cin/g, Cout),
    bias (K, Cout). Dtypes: `nn.Conv`'s rule for y; routing and mixing in promote_types(dtype, float32).

    Attributes (after those of `nn.Conv`, keyword only):
      num_kernels: number of experts K.
      router: what makes the submodule `routing`, called with the arguments of `CondConvRouting`; None is that one.
      padding_mode: 'zeros', 'reflect', 'replicate' or 'circular', for paddings given as amounts.
      implementation: form of `ops.mixture_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError for a mask, an int kernel_size with a 4-D input, channels that do not fit the groups, a routing
    of another shape; what else the operator refuses, it names.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = CondConv(4, (3, 3)), jnp.ones((2, 6, 6, 3))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])
    {'bias': (8, 4), 'kernel': (8, 3, 3, 3, 4), 'routing': {'bias': (8,), 'kernel': (3, 8)}}
    >>> y.shape
    (2, 6, 6, 4)

    Source: arXiv:1904.04971; initialisation and routing as the authors' TensorFlow layers, each expert drawn on its
    own; equal to timm's `CondConv2d`, whose routing is an argument too.
    """

    num_kernels: int = 8
    kernel_init: Callable[..., Any] = dataclasses.field(default=nn.initializers.glorot_uniform(), kw_only=False)

    @nn.compact
    def __call__(self, x, routing: jax.Array | None = None):
        """Convolve x; `routing` (*batch, K), given after its sigmoid, replaces the layer's own."""
        x, batch = self.split_batch(x)
        kernel, bias = self.declare_kernel(x), self.declare_bias_bank()
        weights = self.kernel_weights(x, batch, routing, CondConvRouting, (self.num_kernels,))
        return self.convolve(x, batch, kernel, bias, weights)
