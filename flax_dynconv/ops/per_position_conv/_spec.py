"""PositionSpec: a ConvSpec whose kernels change from output position to output position."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_dynconv.ops._conv_spec import ConvSpec


@dataclasses.dataclass(frozen=True)
class PositionSpec(ConvSpec):
    """Static description of one `per_position_conv`; `kernel_count` is G, or None in the full Cin x Cout form."""

    kernel_count: int | None = None

    @classmethod
    def of(cls, spec: ConvSpec, kernel_count: int | None) -> 'PositionSpec':
        """The same sizes as `spec`, with kernels per position."""
        values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(ConvSpec)}
        return cls(**values, kernel_count=kernel_count)

    @property
    def full(self) -> bool:
        """Whether every tap is a Cin x Cout matrix, so that input channels are summed."""
        return self.kernel_count is None

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape of one sample's kernels: (*out_spatial, *kernel_size, G) or (..., Cin, Cout)."""
        last = (self.in_features, self.out_features) if self.full else (self.kernel_count,)
        return (*self.out_spatial, *self.kernel_size, *last)

    def flatten_taps(self, kernels: jax.Array) -> jax.Array:
        """The kernel's spatial axes as one: (B, *out_spatial, T, G) or (B, *out_spatial, T, Cin, Cout)."""
        last = kernels.shape[1 + 2 * self.ndim :]
        return kernels.reshape(kernels.shape[0], *self.out_spatial, self.num_taps, *last)

    def kernel_of_tap(self, flat: jax.Array, index: int) -> jax.Array:
        """Tap `index` of `flatten_taps(kernels)`: (B, *out_spatial, G) or (B, *out_spatial, Cin, Cout)."""
        return lax.index_in_dim(flat, index, 1 + self.ndim, keepdims=False)

    def split_channels(self, x: jax.Array) -> jax.Array:
        """(..., Cin) -> (..., G, Cin/G): the channels that share a kernel in a row of their own."""
        return x.reshape(*x.shape[:-1], self.kernel_count, self.in_features // self.kernel_count)

    def join_channels(self, x: jax.Array) -> jax.Array:
        """(..., G, Cin/G) -> (..., Cin)."""
        return x.reshape(*x.shape[:-2], self.in_features)

    def windows(self, padded: jax.Array) -> jax.Array:
        """What every tap reads at every output position: (B, *out_spatial, *kernel_size, channels of `padded`).

        Element (b, p, t) is `padded` at [b, p * stride + t * dilation], a gather along each spatial axis in turn. XLA's
        CPU compiler fuses a gather into the product that follows; stacked slices it would first write out.
        """
        x, n = padded, self.ndim
        sizes = zip(self.out_spatial, self.kernel_size, self.strides, self.kernel_dilation, strict=True)
        # From the last axis on, so that every gather puts its positions and its taps before those of the later axes:
        # a transposition at the end could cost a copy of the result.
        for d, (out, kernel, stride, dilation) in reversed(list(enumerate(sizes))):
            index = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation
            places = lax.GatherDimensionNumbers(
                offset_dims=tuple(i for i in range(x.ndim + 1) if i not in (1 + d, 1 + n)),
                collapsed_slice_dims=(1 + d,),
                start_index_map=(1 + d,),
            )
            slice_sizes = (*x.shape[: 1 + d], 1, *x.shape[2 + d :])
            x = lax.gather(x, jnp.asarray(index[..., None], jnp.int32), places, slice_sizes, mode='clip')
        return x
