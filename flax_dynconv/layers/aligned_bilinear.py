"""Enlarging maps by a whole factor with CondInst's alignment, which is not that of other bilinear resizing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from flax_dynconv.layers._resample import between
from flax_dynconv.ops._checks import are_ints, check_ints, is_int


def aligned_bilinear(x: jax.Array, factor: int, axes: Sequence[int] = (1, 2)) -> jax.Array:
    """x made `factor` times as long along each of `axes`, linear between the two nearest elements.

    y[o] = (1 - t) x[i] + t x[min(i + 1, n - 1)],  i = floor(s), t = s - i, s = max(o - factor // 2, 0) / factor

    along an axis of n elements. `resize_bilinear` samples at (o - (factor - 1) / 2) / factor instead: half an output
    element further for an even factor, which pretrained masks would not survive; the same inside for an odd one.

    x of any rank and real dtype; an axis of n elements becomes one of factor * n, in promote_types(x.dtype, float32).
    Sums of slices, for the last axis a product with a static matrix; no gather, whatever is sharded, and axes that are
    not enlarged may be symbolic.

    Raises ValueError for a factor below 1, for axes that x does not have or has twice, and for an axis that is empty
    or unknown at tracing.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([0.0, 4.0]).reshape(1, 2, 1, 1)
    >>> aligned_bilinear(x, 2, axes=(1,)).ravel()
    Array([0., 0., 2., 4.], dtype=float32)
    >>> aligned_bilinear(x, 4, axes=(1,)).ravel()
    Array([0., 0., 0., 1., 2., 3., 4., 4.], dtype=float32)

    Source: equal to AdelaiDet's `aligned_bilinear` (Tian et al., CondInst, arXiv:2003.05664): padding by repetition,
    interpolation with aligned corners, padding, cropping.
    """
    x = jnp.asarray(x)
    check_ints(factor=factor)
    positions = _positions(x, axes)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if factor == 1:
        return x
    # The last axis first: the product is the smaller the less has been enlarged.
    for axis in sorted(positions, reverse=True):
        x = _product(x, factor) if axis == x.ndim - 1 else _enlarge(x, factor, axis)
    return x


def _positions(x, axes):
    """The axes counted from the front."""
    known = [axis % x.ndim for axis in axes if axis < x.ndim] if are_ints(axes, -x.ndim) else None
    if known is None or len(set(known)) != len(axes):
        raise ValueError(f'axes: expected different axes of x with shape {x.shape}, got {axes!r}')
    for axis in known:
        if not is_int(x.shape[axis]) or x.shape[axis] < 1:
            raise ValueError(f'x: expected axis {axis} to be known at tracing and not empty, got shape {x.shape}')
    return known


def _product(x, factor):
    """The last axis, as a product with a static matrix.

    Neighbours in memory are no vectors to a CPU, and what made x would be fused into the sums and computed again for
    every output that an element is in: together that takes 20 times as long.
    """
    n = x.shape[-1]
    matrix = between(np.maximum(np.arange(factor * n) - factor // 2, 0) / factor, n)
    return jnp.einsum('...i,oi->...o', x, jnp.asarray(matrix, x.dtype), precision=jax.lax.Precision.HIGHEST)


def _enlarge(x, factor, axis):
    """Another axis: output factor * q + r lies between element q and the one before (r < factor // 2) or after it."""
    n, rest = x.shape[axis], x.ndim - axis - 1
    past = np.maximum(factor // 2 - np.arange(factor), 0) / factor
    ahead = np.maximum(np.arange(factor) - factor // 2, 0) / factor

    def cut(start, stop):
        return jax.lax.slice_in_dim(x, start, stop, axis=axis)

    def share(weights):
        return jnp.asarray(weights, x.dtype).reshape((1,) * (axis + 1) + (factor,) + (1,) * rest)

    here = jnp.expand_dims(x, axis + 1)
    before = jnp.expand_dims(jnp.concatenate([cut(0, 1), cut(0, n - 1)], axis), axis + 1)
    y = here + share(past) * (before - here)
    if factor > 2:
        after = jnp.expand_dims(jnp.concatenate([cut(1, n), cut(n - 1, n)], axis), axis + 1)
        y = y + share(ahead) * (after - here)
    return y.reshape(*x.shape[:axis], n * factor, *x.shape[axis + 1 :])
