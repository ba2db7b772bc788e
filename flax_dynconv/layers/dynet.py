"""DyNet (Zhang et al., arXiv:2004.10694): every output channel mixes its own kernels by sigmoid coefficients."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._base import MixingConv
from flax_dynconv.layers._routing import Routing


class DyNetRouting(Routing, kw_only=True):
    """Coefficients per kernel and output channel: eta = sigmoid(mean(x) A + a).

    x (B, *spatial, C) or pooled (B, C), any real dtype; eta (B, K, Cout) in promote_types(dtype, float32). DyNet
    predicts the coefficients of all convolutions of a block at once, from the block's input: with a sequence of
    `features` the result is a tuple, one array per convolution, from one linear map. Its outputs are ordered by
    convolution, then by channel, then by kernel.

    Attributes:
      features: output channels of the convolution, or of each of several.
      reduction: with a fraction, a hidden layer of int(C * reduction) units and a ReLU comes first, as in the paper's
        ResNets (0.25 there; the paper names no activation); None: one linear map.
      min_hidden: the least number of units of the hidden layer.

    Raises ValueError for an x without a batch axis.

    >>> import jax, jax.numpy as jnp
    >>> routing, x = DyNetRouting((8, 8, 12), num_kernels=6), jnp.ones((2, 6, 6, 16))
    >>> y, variables = jax.eval_shape(routing.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'params': {'logits': {'bias': (168,), 'kernel': (16, 168)}}}
    >>> [eta.shape for eta in y]
    [(2, 6, 8), (2, 6, 8), (2, 6, 12)]

    Source: section 3 of the paper. No code was published: the order of the outputs is this library's choice, the
    only one that stays inside a group when the convolution is grouped.
    """

    features: int | Sequence[int] = dataclasses.field(kw_only=False)
    num_kernels: int = 6
    reduction: float | None = None
    min_hidden: int = 1
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        """(B, *spatial, C) or (B, C) to coefficients (B, K, Cout), or a tuple of them."""
        x = self.pool(x)
        if self.reduction is not None:
            hidden = max(self.min_hidden, int(x.shape[-1] * self.reduction))
            x = nn.relu(self.linear(x, hidden, 'hidden', self.kernel_init))
        several = not isinstance(self.features, int)
        widths = tuple(self.features) if several else (self.features,)
        logits = self.linear(x, sum(widths) * self.num_kernels, 'logits', self.kernel_init)
        starts = [sum(widths[:i]) * self.num_kernels for i in range(1, len(widths))]
        parts = zip(jnp.split(logits, starts, axis=-1), widths, strict=True)
        coefficients = tuple(nn.sigmoid(self.by_kernel(part, width)) for part, width in parts)
        return coefficients if several else coefficients[0]

    def by_kernel(self, logits, features) -> jax.Array:
        """(B, Cout * K), the kernel index fastest, to (B, K, Cout)."""
        return jnp.swapaxes(jnp.reshape(logits, (logits.shape[0], features, self.num_kernels)), 1, 2)


class DyNetConv(MixingConv, kw_only=True):
    """Convolution with coefficients per output channel: y[b,o] = conv(x[b], sum_k eta[b,k,o] W[k,o]) + c[o].

    eta = sigmoid(mean(x) A + a). A drop-in for `nn.Conv`: its 14 leading fields, 1, 2 or 3 spatial dimensions, any
    batch axes, channels last. The same numbers come from one static convolution with K * Cout outputs that are
    mixed afterwards (`implementation='features_out'`), the form in which the paper trains.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features); kernel (K, *kernel_size, Cin/g, Cout),
    bias (Cout,). Dtypes: `nn.Conv`'s rule for y; routing and mixing in promote_types(dtype, float32).

    Attributes (after those of `nn.Conv`, keyword only):
      num_kernels: kernels per output channel K, the paper's g_t.
      reduction: a fraction gives the routing a hidden layer (see `DyNetRouting`), None none.
      router: what makes the submodule `routing`, called with the arguments of `DyNetRouting`; None is that one.
      padding_mode: 'zeros', 'reflect', 'replicate' or 'circular', for paddings given as amounts.
      implementation: form of `ops.mixture_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError for a mask, an int kernel_size with a 4-D input, channels that do not fit the groups, a routing
    of another shape; what else the operator refuses, it names.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = DyNetConv(4, (3, 3)), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])  # doctest: +NORMALIZE_WHITESPACE
    {'bias': (4,), 'kernel': (6, 3, 3, 8, 4),
     'routing': {'logits': {'bias': (24,), 'kernel': (8, 24)}}}
    >>> y.shape
    (2, 6, 6, 4)

    Source: the full text of the ICLR 2020 submission of arXiv:2004.10694, which has no published code and no word on
    bias or initialisation: here a static bias and `nn.Conv`'s initialisation, per kernel.
    """

    num_kernels: int = 6
    reduction: float | None = None

    @nn.compact
    def __call__(self, x, routing: jax.Array | None = None):
        """Convolve x; `routing` (*batch, K, Cout), given after its sigmoid, replaces the layer's own."""
        x, batch = self.split_batch(x)
        kernel, bias = self.declare_kernel(x), self.declare_bias()
        shape = (self.num_kernels, self.features)
        settings = {'features': self.features, 'reduction': self.reduction}
        weights = self.kernel_weights(x, batch, routing, DyNetRouting, shape, **settings)
        return self.convolve(x, batch, kernel, bias, weights)
