"""A map times one static matrix for each of its two axes: pooling and resizing without a gather."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_dynconv.ops._checks import is_int


def resample(x: jax.Array, size, weights: Callable[[int, int], np.ndarray]) -> jax.Array:
    """x (B, H, W, C) to (B, h, w, C) for `size` = (h, w) or both: y[b,i,j,c] = sum_pq R[i,p] S[j,q] x[b,p,q,c].

    R = weights(H, h) and S = weights(W, w) are made by NumPy while the program is traced. Sums and result are in
    promote_types(x.dtype, float32), at full precision: accelerators round float32 factors to bfloat16 by default.

    Raises ValueError for another rank, a height or width that is 0 or unknown at tracing, and a size below 1.
    """
    x = jnp.asarray(x)
    if x.ndim != 4:
        raise ValueError(f'x: expected (batch, height, width, channels), got shape {x.shape}')
    if not all(is_int(n) and n >= 1 for n in x.shape[1:3]):
        raise ValueError(f'x: expected a height and a width known at tracing and >= 1, got shape {x.shape}')
    pair = (size, size) if is_int(size) else tuple(size) if isinstance(size, list | tuple) else ()
    if len(pair) != 2 or not all(is_int(n) and n >= 1 for n in pair):
        raise ValueError(f'size: expected an int >= 1 or two of them, got {size!r}')
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    for axis, terms in ((1, 'bhwc,ih->biwc'), (2, 'bhwc,iw->bhic')):
        old, new = x.shape[axis], pair[axis - 1]
        matrix = weights(old, new)
        if old != new or not np.array_equal(matrix, np.eye(old)):
            x = jnp.einsum(terms, x, jnp.asarray(matrix, x.dtype), precision=lax.Precision.HIGHEST)
    return x


def between(points, length):
    """(points, length): row i has the two weights of the pixels around point i."""
    # A point that is the last pixel but for rounding must not look beyond it.
    low = np.minimum(np.floor(points).astype(int), length - 1)
    share = np.minimum(points - low, 1.0)
    matrix, rows = np.zeros((len(points), length)), np.arange(len(points))
    matrix[rows, low] = 1 - share
    # Of the last pixel there is no next one: its own weight becomes 1 again.
    matrix[rows, np.minimum(low + 1, length - 1)] += share
    return matrix
