"""What the routing modules share: the pooled input in the routing dtype, and linear maps of it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from flax_dynconv.ops._checks import check_ints

# N(0, 2 / fan_out), not truncated: what ODConv's and the common DY-CNN code draw for their attention.
kaiming_fan_out = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


class Routing(nn.Module, kw_only=True):
    """Fields and pieces of every routing module; one alone serves a block whose layers share its output."""

    num_kernels: int = 4
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @property
    def full_precision(self):
        """`precision`, or the highest: by default accelerators round float32 operands to bfloat16 or TF32."""
        return lax.Precision.HIGHEST if self.precision is None else self.precision

    def pool(self, x) -> jax.Array:
        """x (B, *spatial, C), or (B, C) pooled already, as its spatial mean (B, C), never below float32."""
        x = jnp.asarray(x)
        check_ints(num_kernels=self.num_kernels)
        if x.ndim < 2:
            raise ValueError(f'x: expected (batch, *spatial, channels) or (batch, channels), got shape {x.shape}')
        dtype = nn.dtypes.canonicalize_dtype(x, jnp.zeros((), self.param_dtype), dtype=self.dtype)
        x = x.astype(jnp.promote_types(dtype, jnp.float32))
        return jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x

    def linear(self, x, features: int, name: str, kernel_init: Callable[..., Any], use_bias: bool = True) -> jax.Array:
        """x (B, C) to (B, features), in x's dtype."""
        return nn.Dense(
            features,
            use_bias=use_bias,
            dtype=x.dtype,
            param_dtype=self.param_dtype,
            precision=self.full_precision,
            kernel_init=kernel_init,
            name=name,
        )(x)
