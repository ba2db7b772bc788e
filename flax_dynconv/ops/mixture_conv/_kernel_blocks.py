"""A bank in blocks of one tap and some input channels: what is mixed from a block stays in cache while it is used."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops.choice.case import ASSUMED_BATCH

# Bytes of one block, mixed for all samples. On CPU 2 to 10 MB are equally fast; what does not fit the cache is not.
BLOCK_BYTES = 10 * 2**20
# Products with fewer input channels than this are not worth their call.
_FEWEST_CHANNELS = 64
# Channels are not divided further: the choice is made at every trace, also for absurd sizes.
_MOST_PARTS = 256


@dataclasses.dataclass(frozen=True)
class KernelBlocks:
    """The blocks of a bank (K, *kernel_size, Cin, Cout): every tap times `parts` ranges of input channels."""

    spec: object
    parts: int

    @classmethod
    def of(cls, spec, batch, dtype) -> 'KernelBlocks':
        """Blocks of at most `BLOCK_BYTES` after mixing, as far as the channels can be divided."""
        batch = batch if isinstance(batch, int) else ASSUMED_BATCH
        c = spec.in_features
        size = batch * c * spec.out_features * jnp.promote_types(dtype, jnp.float32).itemsize
        divisors = [
            n
            for n in range(1, min(max(c, 1), _MOST_PARTS) + 1)
            if c % n == 0 and (n == 1 or c // n >= _FEWEST_CHANNELS)
        ]
        return cls(spec, next((n for n in divisors if size / n <= BLOCK_BYTES), divisors[-1]))

    @property
    def channels(self) -> int:
        """Input channels of a block."""
        return self.spec.in_features // self.parts

    def loop(self, body, initial):
        """body(tap, first channel, carry) for every block; tap and channel are traced."""

        def step(i, carry):
            return body(lax.div(i, self.parts), lax.rem(i, self.parts) * self.channels, carry)

        return lax.fori_loop(0, self.spec.num_taps * self.parts, step, initial)

    def offset(self, tap) -> tuple:
        """Where a tap begins to read in the padded input, per dimension."""
        # By arithmetic, not from a table: a custom_partitioning may not close over arrays.
        starts = []
        for size, dilation in zip(self.spec.kernel_size[::-1], self.spec.kernel_dilation[::-1], strict=True):
            starts.append(lax.rem(tap, size) * dilation)
            tap = lax.div(tap, size)
        return tuple(starts[::-1])

    def flatten(self, kernels):
        """(K, *kernel_size, Cin, Cout) -> (K, T, Cin, Cout)."""
        return kernels.reshape(len(kernels), self.spec.num_taps, self.spec.in_features, self.spec.out_features)

    def read(self, flat, tap, channel):
        """A block (K, channels, Cout) of a flattened bank."""
        size = (len(flat), 1, self.channels, flat.shape[-1])
        return lax.dynamic_slice(flat, (0, tap, channel, 0), size)[:, 0]

    def write(self, flat, block, tap, channel):
        """The flattened bank with a block replaced."""
        return lax.dynamic_update_slice(flat, block[:, None].astype(flat.dtype), (0, tap, channel, 0))


def mix_block(coefficients: jax.Array, block: jax.Array, dtype) -> jax.Array:
    """The samples' kernels (B, c, Cout) of a block (K, c, Cout), mixed by (B, K) in float32 or wider, cast once."""
    k, c, o = block.shape
    mixed = jnp.dot(coefficients, block.astype(coefficients.dtype).reshape(k, c * o), precision=lax.Precision.HIGHEST)
    return mixed.reshape(coefficients.shape[0], c, o).astype(dtype)


def unmix_block(coefficients: jax.Array, block: jax.Array, dw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The adjoints of `mix_block`: cotangents of the coefficients (B, K) and of the block (K, c, Cout)."""
    k, c, o = block.shape
    flat = dw.astype(coefficients.dtype).reshape(dw.shape[0], c * o)
    dot = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    of_coefficients = dot('bn,kn->bk', flat, block.astype(coefficients.dtype).reshape(k, c * o))
    return of_coefficients, dot('bk,bn->kn', coefficients, flat).reshape(k, c, o)


def of_tap(array: jax.Array, tap) -> jax.Array:
    """Column `tap` of (B, T), as (B, 1)."""
    return lax.dynamic_slice_in_dim(array, tap, 1, 1)


def coefficients_of(spec, weights, tap_scale, acc):
    """tap -> what its kernels are mixed with, (B, K)."""
    weights = weights.astype(acc)
    if tap_scale is None:
        return lambda tap: weights
    scale = tap_scale.astype(acc).reshape(tap_scale.shape[0], spec.num_taps)
    return lambda tap: weights * of_tap(scale, tap)
