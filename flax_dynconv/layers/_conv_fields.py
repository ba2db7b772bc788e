"""The leading fields of `nn.Conv` and the checks of a layer that has them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.ops._checks import are_ints, check_ints, is_int

PaddingLike = str | int | Sequence[int | tuple[int, int]]


class ConvFields(nn.Module):
    """The first 14 fields of `nn.Conv`, in its order, with its names and its defaults."""

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] | None = 1
    padding: PaddingLike = 'SAME'
    input_dilation: int | Sequence[int] | None = 1
    kernel_dilation: int | Sequence[int] | None = 1
    feature_group_count: int = 1
    use_bias: bool = True
    mask: Any = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """`kernel_size` as a tuple; an int means one spatial dimension, as in `nn.Conv`."""
        return (int(self.kernel_size),) if is_int(self.kernel_size) else tuple(self.kernel_size)

    def check_input(self, x) -> None:
        """Refuse what these layers cannot do, with the argument's name, what was expected and what came."""
        size = self.kernel_size
        size = (size,) if is_int(size) else tuple(size) if isinstance(size, Sequence) else ()
        if not size or not are_ints(size):
            raise ValueError(f'kernel_size: expected an int or ints, each >= 1, got {self.kernel_size!r}')
        check_ints(features=self.features)
        if self.mask is not None:
            raise ValueError('mask: expected None, a masked kernel is not supported by dynamic convolutions')
        if is_int(self.kernel_size) and x.ndim == 4:
            k = self.kernel_size
            raise ValueError(
                f'kernel_size: expected a tuple of 2 ints, such as ({k}, {k}), for the 4-D input {x.shape}, got the '
                f'int {k}. An int means one spatial dimension, as in nn.Conv: write ({k},) if that is meant'
            )
        if x.ndim < len(size) + 1:
            raise ValueError(
                f'x: expected at least {len(size) + 1} dimensions (*batch, *spatial, channels) for kernel_size '
                f'{size}, got shape {x.shape}'
            )
        groups = self.feature_group_count
        if not is_int(groups) or groups < 1 or x.shape[-1] % groups:
            raise ValueError(
                f'feature_group_count: expected a divisor of the {x.shape[-1]} input channels, got {groups}'
            )
        if self.features % groups:
            raise ValueError(f'features: expected a multiple of feature_group_count = {groups}, got {self.features}')
