"""What the modules of HDFNet share: fields, convolutions as PyTorch initialises them, and checks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._torch_init import torch_bias, torch_kernel
from flax_dynconv.layers.conv_norm_act import ConvNormAct
from flax_dynconv.ops._checks import check_ints


class DenseBase(nn.Module, kw_only=True):
    """Fields and pieces of a module on maps (B, H, W, C); a subclass is one module."""

    norm: Callable[..., Any] | None = None
    act: Callable[..., Any] = nn.relu
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    def settings(self) -> dict[str, Any]:
        """The fields that modules inside take over."""
        return {name: getattr(self, name) for name in ('norm', 'act', 'dtype', 'param_dtype', 'precision')}

    def block(self, features: int, name: str) -> ConvNormAct:
        """A bias-free 3x3 convolution with norm and activation."""
        return ConvNormAct(features, (3, 3), kernel_init=torch_kernel, name=name, **self.settings())

    def conv(self, x: jax.Array, features: int, size: int, name: str, **dtypes: Any) -> jax.Array:
        """x, convolved with a bias and nothing after it; `dtypes` (dtype, precision) instead of the module's."""
        fields = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'precision': self.precision, **dtypes}
        return nn.Conv(
            features,
            (size, size),
            padding=((size // 2, size // 2),) * 2,
            kernel_init=torch_kernel,
            bias_init=torch_bias(size * size * x.shape[-1]),
            name=name,
            **fields,
        )(x)

    def inputs(self, **maps: Any) -> tuple[jax.Array, ...]:
        """Maps of one size in the computation dtype; the names are those of the arguments."""
        arrays = {name: jnp.asarray(x) for name, x in maps.items()}
        first, *others = arrays
        if arrays[first].ndim != 4:
            raise ValueError(f'{first}: expected (batch, height, width, channels), got shape {arrays[first].shape}')
        size = arrays[first].shape[:3]
        for name in others:
            shape = arrays[name].shape
            if len(shape) != 4 or shape[:3] != size:
                wanted = ', '.join(str(n) for n in size)
                raise ValueError(f'{name}: expected shape ({wanted}, channels), the size of {first}, got {shape}')
        dtype = nn.dtypes.canonicalize_dtype(*arrays.values(), jnp.zeros((), self.param_dtype), dtype=self.dtype)
        return tuple(x.astype(dtype) for x in arrays.values())

    def require(self, minimum: int = 1, **values: Any) -> None:
        """Refuse values that are no whole numbers of at least `minimum`."""
        check_ints(minimum, **values)


def size_of(shape) -> int:
    """Positions of a map of this shape (.., height, width, channels)."""
    return math.prod(shape[-3:-1])
