"""What the two filtering layers of Dynamic Filter Networks share: filter channels as taps, the bias, the checks."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.ops import Autotune
from flax_dynconv.ops._checks import are_odd, is_int, same_size

CHANNELS = ('sum', 'shared', 'own')


class Filtering(nn.Module, kw_only=True):
    """A layer without parameters that applies filters which another network computed; a subclass says where."""

    kernel_size: int | Sequence[int] = dataclasses.field(kw_only=False)
    channels: str = 'sum'
    features: int = 1
    softmax: bool = False
    bias: bool = False
    implementation: str | Autotune | None = None
    precision: Any = None
    dtype: Any = None

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """`kernel_size` as a tuple; an int means one spatial dimension, as in `nn.Conv`."""
        return (int(self.kernel_size),) if is_int(self.kernel_size) else tuple(self.kernel_size)

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Zeros around the input, k // 2 on both sides."""
        return tuple((k // 2, k // 2) for k in self.kernel_shape)

    def _counts(self, in_features):
        """How many filters there are, and the taps of each."""
        taps = math.prod(self.kernel_shape)
        if self.channels == 'sum':
            return self.features, taps * in_features
        return (1 if self.channels == 'shared' else in_features), taps

    def filter_channels(self, in_features: int) -> int:
        """Channels that `filters` must have for an input with so many.

        >>> from flax_dynconv.layers import LocalFiltering
        >>> LocalFiltering((1, 13), bias=True).filter_channels(1)
        14
        """
        return math.prod(self._counts(in_features)) + bool(self.bias)

    def taps(self, filters: jax.Array, in_features: int) -> jax.Array:
        """The taps as they are applied, without the bias: (*lead, N) to (*lead, N or N - 1).

        With `softmax` those of each filter are >= 0 and sum to 1; then they are in promote_types(dtype, float32).
        """
        count, size = self._counts(in_features)
        taps = filters[..., : count * size]
        if not self.softmax:
            return taps
        lead = taps.shape[:-1]
        taps = taps.astype(jnp.promote_types(taps.dtype, jnp.float32))
        return jnp.reshape(nn.softmax(jnp.reshape(taps, (*lead, count, size)), axis=-1), (*lead, count * size))

    def _kernels(self, filters, in_features):
        """(*lead, N) as (*lead, *kernel_size, Cin, features), without a sum (*lead, *kernel_size, G)."""
        taps = self.taps(filters, in_features)
        outer = (self.features, in_features) if self._sums(in_features) else (self._counts(in_features)[0],)
        lead, n = taps.ndim - 1, len(self.kernel_shape)
        taps = jnp.reshape(taps, (*taps.shape[:-1], *outer, *self.kernel_shape))
        inner = range(lead + len(outer), lead + len(outer) + n)
        return jnp.transpose(taps, (*range(lead), *inner, *reversed(range(lead, lead + len(outer)))))

    def _sums(self, in_features):
        """Whether a sum over channels is to be taken: with one channel and one filter there is none."""
        return self.channels == 'sum' and (in_features, self.features) != (1, 1)

    def _inputs(self, x, filters, per_position):
        """x and filters in the computation dtype, the bias already added to x; or what is wrong with them."""
        x, filters = jnp.asarray(x), jnp.asarray(filters)
        self._check_fields(x)
        lead = x.shape[:-1] if per_position else x.shape[:1]
        layout = '(B, *spatial, N)' if per_position else '(B, N)'
        same = filters.ndim == len(lead) + 1 and all(map(same_size, filters.shape, lead))
        if not same:
            raise ValueError(f'filters: expected shape {layout} = {(*lead, "N")}, got {filters.shape}')
        wanted = self.filter_channels(x.shape[-1])
        if filters.shape[-1] != wanted:
            factors = [*map(str, self.kernel_shape)]
            factors += [f'{x.shape[-1]} channels'] if self.channels != 'shared' else []
            factors += [f'{self.features} features'] if self.channels == 'sum' and self.features > 1 else []
            raise ValueError(
                f'filters: expected {" * ".join(factors)}{" + 1 (the bias)" if self.bias else ""} = {wanted} filter '
                f'channels, got {filters.shape[-1]}'
            )
        x = x.astype(nn.dtypes.canonicalize_dtype(x, filters, dtype=self.dtype))
        filters = filters.astype(nn.dtypes.canonicalize_dtype(filters, jnp.zeros((), x.dtype)))
        if self.bias:
            bias = filters[..., -1:].astype(x.dtype)
            # Before the filter pads: what is outside the image stays 0.
            x = x + (bias if per_position else jnp.reshape(bias, (bias.shape[0], *(1,) * (x.ndim - 2), 1)))
        return x, filters

    def _check_fields(self, x):
        size = (self.kernel_size,) if is_int(self.kernel_size) else self.kernel_size
        if not are_odd(size):
            raise ValueError(
                f'kernel_size: expected an odd int or odd ints, each >= 1 (k // 2 zeros on both sides keep the size), '
                f'got {self.kernel_size!r}'
            )
        if is_int(self.kernel_size) and x.ndim == 4:
            k = self.kernel_size
            raise ValueError(
                f'kernel_size: expected a tuple of 2 ints, such as ({k}, {k}), for the 4-D input {x.shape}, got the '
                f'int {k}'
            )
        if x.ndim != len(size) + 2:
            raise ValueError(f'x: expected {len(size) + 2} dimensions (B, *spatial, C), got shape {x.shape}')
        if self.channels not in CHANNELS:
            raise ValueError(f'channels: expected one of {CHANNELS}, got {self.channels!r}')
        if not is_int(self.features) or self.features < 1 or (self.channels != 'sum' and self.features != 1):
            raise ValueError(
                f"features: expected an int >= 1, and 1 unless channels='sum', got {self.features!r} with "
                f'channels={self.channels!r}'
            )

    def multiply_adds(self, x_shape: Sequence[int], y_shape: Sequence[int]) -> int:
        """Multiply-adds per sample: one for each tap of each output."""
        n = len(self.kernel_shape)
        per_output = math.prod(self.kernel_shape) * (x_shape[-1] if self.channels == 'sum' else 1)
        return math.prod(y_shape[-1 - n :]) * per_output
