"""Blocks: the pixels of an image in pieces of equal size, for a loop whose arrays stay in cache."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

# Elements of one layer's activations in a block. On CPU they stay in cache, 2 MiB in float32: with half and double of
# it a gradient took 1.4 and 1.6 times as long, with whole images 3 times (100 instances, 100 x 168 pixels; 2 cores with
# 1 MiB of L2 each). Elsewhere blocks only bound the memory: the TPU compiler estimates a third of the time for the
# larger ones.
TARGET_ON_CPU = 2**19
TARGET = 2**24
# Blocks are not made smaller than this, whatever the number of instances: the products would be all overhead.
MINIMUM = 128


@dataclasses.dataclass(frozen=True)
class Blocks:
    """`count` blocks of `size` pixels cover the `total` pixels; the last one may reach beyond them."""

    total: int
    count: int
    size: int

    @classmethod
    def of(cls, total: int, rows: tuple, target: int) -> 'Blocks':
        """Blocks of about `target` elements, for prod(rows) channels; unknown (symbolic) numbers count as one."""
        per_pixel = 1
        for number in rows:
            per_pixel *= max(number, 1) if isinstance(number, int) else 1
        least = -(-total // max(target // per_pixel, MINIMUM))
        # A few more blocks than necessary where these divide the image: then nothing is padded.
        count = next((n for n in range(least, 2 * least) if total % n == 0), least)
        return cls(total, count, -(-total // count))

    def pad(self, array: jax.Array) -> jax.Array:
        """Zeros behind the last axis, up to whole blocks."""
        extra = self.count * self.size - self.total
        return jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, extra)]) if extra else array

    def take(self, array: jax.Array, index: jax.Array) -> jax.Array:
        """Block `index` along the last axis of a padded array."""
        return lax.dynamic_slice_in_dim(array, index * self.size, self.size, array.ndim - 1)

    def join(self, stacked: jax.Array) -> jax.Array:
        """(count, ..., size) -> (..., total)."""
        joined = jnp.moveaxis(stacked, 0, -2)
        return joined.reshape(*joined.shape[:-2], self.count * self.size)[..., : self.total]


def by_platform(function, total: int, rows: tuple, *operands):
    """function(blocks, *operands), with the blocks of the platform for which the program is lowered."""
    cpu, default = (Blocks.of(total, rows, target) for target in (TARGET_ON_CPU, TARGET))
    if cpu == default:
        return function(cpu, *operands)
    cpu, default = functools.partial(function, cpu), functools.partial(function, default)
    return lax.platform_dependent(*operands, cpu=cpu, default=default)
