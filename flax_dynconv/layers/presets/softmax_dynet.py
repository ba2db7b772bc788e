"""A per-sample DyNet whose coefficients compete: softmax over the kernels, dropout before the linear map."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._base import MixingConv
from flax_dynconv.layers._routing import Routing


class SoftmaxDyNetRouting(Routing, kw_only=True):
    """Coefficients that sum to 1 over the kernels: pi = softmax_k(dropout(mean(x)) A + a), per output channel.

    x (B, *spatial, C) or pooled (B, C), any real dtype; pi (B, K, Cout) in promote_types(dtype, float32). The outputs
    of the linear map are ordered by kernel, then by channel (those of `DyNetRouting` by channel, then by kernel).
    Dropout is active exactly when a 'dropout' rng is given.

    Raises ValueError for an x without a batch axis.

    >>> import jax, jax.numpy as jnp
    >>> routing, x = SoftmaxDyNetRouting(5), jnp.ones((2, 6, 6, 8))
    >>> pi, variables = routing.init_with_output(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'logits': {'bias': (15,), 'kernel': (8, 15)}}}
    >>> bool(jnp.allclose(pi.sum(axis=1), 1.0))
    True

    Source: the module `DyNet2D` that circulates in PyTorch; the paper (arXiv:2004.10694) has sigmoids: `DyNetRouting`.
    """

    features: int = dataclasses.field(kw_only=False)
    num_kernels: int = 3
    dropout_rate: float = 0.2
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        """(B, *spatial, C) or (B, C) to coefficients (B, K, Cout)."""
        x = nn.Dropout(self.dropout_rate, deterministic=not self.has_rng('dropout'))(self.pool(x))
        logits = self.linear(x, self.num_kernels * self.features, 'logits', self.kernel_init)
        return nn.softmax(jnp.reshape(logits, (logits.shape[0], self.num_kernels, self.features)), axis=1)


class SoftmaxDyNetConv(MixingConv, kw_only=True):
    """DyNet with competing kernels: y[b,o] = conv(x[b], sum_k pi[b,k,o] W[k,o]) + c[o], sum_k pi[b,k,o] = 1.

    As `DyNetConv`, but for a softmax in place of the sigmoid, K = 3, dropout in the routing (active exactly when a
    'dropout' rng is given) and the order of the routing's outputs.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features); kernel (K, *kernel_size, Cin/g, Cout),
    bias (Cout,). Dtypes: `nn.Conv`'s rule for y; routing and mixing in promote_types(dtype, float32).

    Attributes (after those of `nn.Conv`, keyword only):
      num_kernels: kernels per output channel K.
      dropout_rate: of the pooled input.
      router: what makes the submodule `routing`, called with the arguments of `SoftmaxDyNetRouting`; None is that one.
      padding_mode: 'zeros', 'reflect', 'replicate' or 'circular', for paddings given as amounts.
      implementation: form of `ops.mixture_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError as `DyNetConv`.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = SoftmaxDyNetConv(4, (3, 3)), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])  # doctest: +NORMALIZE_WHITESPACE
    {'bias': (4,), 'kernel': (3, 3, 3, 8, 4),
     'routing': {'logits': {'bias': (12,), 'kernel': (8, 12)}}}

    Source: equal to the module `DyNet2D` that circulates in PyTorch, at any rank.
    """

    num_kernels: int = 3
    dropout_rate: float = 0.2

    @nn.compact
    def __call__(self, x, routing: jax.Array | None = None):
        """Convolve x; `routing` (*batch, K, Cout), given after its softmax, replaces the layer's own."""
        x, batch = self.split_batch(x)
        kernel, bias = self.declare_kernel(x), self.declare_bias()
        shape = (self.num_kernels, self.features)
        settings = {'features': self.features, 'dropout_rate': self.dropout_rate}
        weights = self.kernel_weights(x, batch, routing, SoftmaxDyNetRouting, shape, **settings)
        return self.convolve(x, batch, kernel, bias, weights)
