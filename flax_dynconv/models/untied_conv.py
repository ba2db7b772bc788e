"""A convolution with a bias of its own at every position."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_dynconv.ops import conv_general_dilated


class UntiedConv(nn.Module):
    """A convolution of maps of one size: y[b, p, o] = conv(x[b], kernel)[p, o] + bias[p, o].

    x (B, H, W, Cin) to y (B, H', W', features); parameters kernel (kh, kw, Cin, features) and bias
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
        """(B, H, W, Cin) to (B, H', W', features)."""
        strides = (self.strides,) * 2 if isinstance(self.strides, int) else tuple(self.strides)
        kernel_shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, kernel_shape, self.param_dtype)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        layout = ('NHWC', 'HWIO', 'NHWC')
        y = conv_general_dilated(x, kernel, strides, self.padding, dimension_numbers=layout, precision=self.precision)
        shape = y.shape[1:]
        if self.has_variable('params', 'bias'):
            made = np.shape(nn.meta.unbox(self.get_variable('params', 'bias')))
            if made != shape:
                raise ValueError(f'x: expected maps of the size of the untied biases, {made[:2]}, got {shape[:2]}')
        bias = self.param('bias', self.bias_init, shape, self.param_dtype)
        return y + bias.astype(y.dtype)[None]

    def multiply_adds(self, x_shape: Sequence[int], y_shape: Sequence[int]) -> int:
        """Multiply-adds per sample: those of the convolution."""
        return math.prod((*y_shape[1:], *self.kernel_size, x_shape[-1]))
