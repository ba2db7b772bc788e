"""A convolution with a bias of its own at every position."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_dynconv.models.network import static_conv


class UntiedConv(nn.Module):
    """A convolution of maps of one size: y[b, p, o] = conv(x[b], kernel)[p, o] + bias[p, o].

    x (*batch, H, W, Cin) to y (*batch, H', W', features); parameters kernel (kh, kw, Cin, features) and bias
    (H', W', features), H' and W' those of the first x. Fields and dtypes as `nn.Conv`.

    Raises ValueError for an x of another size than the one that the biases were made for.

    >>> import jax, jax.numpy as jnp
    >>> conv, x = UntiedConv(4, (3, 3)), jnp.ones((2, 6, 5, 3))
    >>> jax.tree.map(jnp.shape, conv.init(jax.random.key(0), x)['params'])
    {'bias': (6, 5, 4), 'kernel': (3, 3, 3, 4)}

    Source: `untie_biases` of Lasagne's convolutions, as Dynamic Filter Networks (arXiv:1605.09673) use it.
    """

    features: int
    kernel_size: Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Any = 'SAME'
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x):
        """(*batch, H, W, Cin) to (*batch, H', W', features)."""
        settings = {name: getattr(self, name) for name in ('dtype', 'param_dtype', 'precision', 'kernel_init')}
        conv = static_conv(
            self.features,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            use_bias=False,
            **settings,
        )
        # Its kernel becomes a parameter of this module, beside the bias.
        nn.share_scope(self, conv)
        y = conv(x)
        shape = y.shape[-3:]
        if self.has_variable('params', 'bias'):
            made = np.shape(nn.meta.unbox(self.get_variable('params', 'bias')))
            if made != shape:
                raise ValueError(f'x: expected maps of the size of the untied biases, {made[:2]}, got {shape[:2]}')
        bias = self.param('bias', self.bias_init, shape, self.param_dtype)
        return y + jnp.reshape(bias.astype(y.dtype), (*(1,) * (y.ndim - 3), *shape))
