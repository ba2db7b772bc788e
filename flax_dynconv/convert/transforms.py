"""Invertible array transforms between PyTorch's layouts and Flax's: pairs of functions on numpy arrays."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Transform(NamedTuple):
    """`to_flax` and `to_torch`, each other's inverses; both only move elements, so that a round trip is bitwise.

    >>> conv_kernel.to_flax(np.zeros((12, 8, 3, 3))).shape
    (3, 3, 8, 12)
    """

    to_flax: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]

    def then(self, other: 'Transform') -> 'Transform':
        """This transform followed, on the way to Flax, by another."""
        return Transform(lambda x: other.to_flax(self.to_flax(x)), lambda x: self.to_torch(other.to_torch(x)))


identity = Transform(lambda x: x, lambda x: x)

# (out, in) <-> (in, out)
linear = Transform(lambda x: x.swapaxes(0, 1), lambda x: x.swapaxes(0, 1))

# (out, in/g, *kernel_size) <-> (*kernel_size, in/g, out), any rank
conv_kernel = Transform(
    lambda x: x.transpose(*range(2, x.ndim), 1, 0),
    lambda x: x.transpose(-1, -2, *range(x.ndim - 2)),
)

# (K, out, in/g, *kernel_size) <-> (K, *kernel_size, in/g, out), any rank
kernel_bank = Transform(
    lambda x: x.transpose(0, *range(3, x.ndim), 2, 1),
    lambda x: x.transpose(0, -1, -2, *range(1, x.ndim - 2)),
)


def reshape(torch_shape: tuple[int, ...], flax_shape: tuple[int, ...]) -> Transform:
    """A reshape in row-major order, both shapes given."""
    return Transform(lambda x: x.reshape(flax_shape), lambda x: x.reshape(torch_shape))


def pointwise_as_linear(spatial: int) -> Transform:
    """(out, in, 1, ..., 1) with `spatial` ones <-> (in, out): a 1x1 convolution on a pooled map is a linear layer.

    >>> pointwise_as_linear(2).to_torch(np.zeros((8, 16))).shape
    (16, 8, 1, 1)
    """
    ones = (1,) * spatial
    return Transform(lambda x: x.reshape(x.shape[:2]).T, lambda x: x.T.reshape(x.shape[::-1] + ones))


def flat_bank(shape: tuple[int, ...]) -> Transform:
    """(K, out * in/g * kh * kw), row-major per expert, <-> (K, kh, kw, in/g, out); `shape` is the bank's in PyTorch.

    K is read from the array: one table fits any number of kernels.

    >>> flat_bank((4, 12, 8, 3, 3)).to_flax(np.zeros((4, 864))).shape
    (4, 3, 3, 8, 12)
    """
    flat = Transform(lambda x: x.reshape(len(x), *shape[1:]), lambda x: x.reshape(len(x), -1))
    return flat.then(kernel_bank)
