"""A static convolution, its norm and its activation in one module."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._norms import norm_of
from flax_dynconv.layers._routing import kaiming_fan_out
from flax_dynconv.ops._checks import are_odd


class ConvNormAct(nn.Module):
    """y = act(norm(conv(x))): a bias-free convolution of stride 1 that keeps the size of the map.

    Shapes: x (B, *spatial, Cin) to y (B, *spatial, features); k // 2 zeros on both sides, for odd kernel sizes k.
    Dtypes: `nn.Conv`'s rule for y.

    Attributes:
      features, kernel_size, dtype, param_dtype, precision: as in `nn.Conv`.
      norm: makes the norm, called with its name 'bn'; None: a BatchNorm (momentum 0.9, epsilon 1e-5, unbiased running
        variances) that uses and updates batch statistics exactly when 'batch_stats' is mutable.
      act: the activation.
      kernel_init: N(0, 2 / (k**n * features)) by default.

    Raises ValueError for an even kernel size.

    >>> import jax
    >>> block, x = ConvNormAct(8, (3, 3)), jnp.ones((2, 6, 6, 4))
    >>> y, variables = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])
    {'bn': {'bias': (8,), 'scale': (8,)}, 'conv': {'kernel': (3, 3, 4, 8)}}
    >>> y.shape
    (2, 6, 6, 8)

    Source: equal to mmcv's `ConvModule` with a norm, in its default order and with its initialisation.
    """

    features: int
    kernel_size: Sequence[int]
    norm: Callable[..., Any] | None = None
    act: Callable[..., Any] = nn.relu
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable[..., Any] = kaiming_fan_out

    @nn.compact
    def __call__(self, x):
        """Convolve, normalise and activate x."""
        size = tuple(self.kernel_size)
        if not are_odd(size):
            raise ValueError(f'kernel_size: expected odd sizes, which keep the size of the map, got {size}')
        y = nn.Conv(
            self.features,
            size,
            padding=tuple((k // 2, k // 2) for k in size),
            use_bias=False,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            kernel_init=self.kernel_init,
            name='conv',
        )(x)
        return self.act(norm_of(self, y.dtype, 'bn')(y).astype(y.dtype))
