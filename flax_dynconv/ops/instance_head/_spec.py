"""HeadSpec: the static description of one `instance_head`; Operands: its arrays, all of one dtype."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Operands(NamedTuple):
    """The arrays of `instance_head`, in the dtype of the computation; weights and biases have one entry per layer."""

    features: jax.Array
    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    locations: jax.Array | None
    scales: jax.Array | None


@dataclasses.dataclass(frozen=True)
class HeadSpec:
    """Height and width of the features, the pixels of the image between two of their positions, precision of dots."""

    height: int
    width: int
    stride: int
    precision: object = None

    @property
    def num_positions(self) -> int:
        """P = H * W: all forms flatten the two spatial axes, which are alike in a 1x1 network."""
        return self.height * self.width

    def planes(self, features: jax.Array) -> jax.Array:
        """(B, H, W, Cm) -> (B, Cm, P): neighbouring pixels of one channel are neighbours in memory."""
        return features.reshape(features.shape[0], self.num_positions, features.shape[-1]).swapaxes(1, 2)

    def grid(self, dtype) -> np.ndarray:
        """(2, P): x and y of every position in pixels of the image."""
        y, x = np.divmod(np.arange(self.num_positions), max(self.width, 1))
        return (np.stack([x, y]) * self.stride + self.stride // 2).astype(dtype)

    @staticmethod
    def middle(grid: np.ndarray) -> np.ndarray:
        """(2, 1): the middle of the grid, from where coordinates are half as large as from the corner."""
        return (grid[:, :1] + grid[:, -1:]) / 2


def relative(locations: jax.Array, scales: jax.Array, grid: jax.Array) -> list[jax.Array]:
    """x and y of `(location - grid) / scale`, each (B, N, P) for a grid (2, P)."""
    return [(locations[..., i, None] - jnp.asarray(grid[i])[None, None]) / scales[..., None] for i in range(2)]
