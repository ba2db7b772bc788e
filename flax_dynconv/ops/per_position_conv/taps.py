"""One multiply-add per tap over shifted slices of the input: no array has as many elements as x times the taps.

The sum over taps is elementwise in the output, which the compiler fuses into a single pass; what the backward pass
keeps is x and the kernels themselves.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype, sum_arrays

# Up to this many terms a sum over channels is written out, so that it fuses; a dot per tap would not (10 times slower
# for three channels on CPU).
UNROLLED_CHANNELS = 4
# So many channels that share a kernel are added up in one pass over its gradient (8 times faster than one by one for
# the four of involution).
UNROLLED_SHARE = 8


def declines(spec, batch):
    """Nothing is declined."""
    return None


def _vector_matrix(spec, x, matrix, acc):
    """(..., i) times (..., i, j), one product per position."""
    if x.shape[-1] > UNROLLED_CHANNELS:
        return contract('...i,...ij->...j', x, matrix, acc, spec.precision)
    x, matrix = x.astype(acc), matrix.astype(acc)
    return sum_arrays(x[..., i, None] * matrix[..., i, :] for i in range(x.shape[-1]))


def _times(spec, x, kernel, acc):
    """(..., Cin) times one kernel per group of channels."""
    return spec.join_channels(spec.split_channels(x.astype(acc)) * kernel.astype(acc)[..., None])


def _kernels(spec, w):
    """The kernels tap by tap."""
    flat = spec.flatten_taps(w)
    return ((tap, spec.kernel_of_tap(flat, i)) for i, tap in enumerate(spec.taps()))


def apply(spec, out_dtype, x, w):
    """y = sum_t shift_t(x) w_t."""
    acc, padded = contract_dtype(x, w), spec.pad(x)
    times = _vector_matrix if spec.full else _times
    return sum_arrays(times(spec, spec.tap_slice(padded, t), k, acc) for t, k in _kernels(spec, w)).astype(out_dtype)


def adjoint_x(spec, out_dtype, y, w):
    """x = sum_t unshift_t(w_t y)."""
    acc = contract_dtype(y, w)

    def transposed(kernel):
        return _vector_matrix(spec, y, kernel.mT, acc) if spec.full else _times(spec, y, kernel, acc)

    return spec.undilate(sum_arrays(spec.tap_unslice(transposed(k), t) for t, k in _kernels(spec, w))).astype(out_dtype)


def adjoint_w(spec, out_dtype, x, y):
    """w_t = shift_t(x) y, summed over the channels that share a kernel."""
    acc = contract_dtype(x, y)
    operands = spec.pad(x).astype(acc), y.astype(acc)
    over_windows, tap_by_tap = functools.partial(_over_windows, spec), functools.partial(_tap_by_tap, spec)
    return lax.platform_dependent(*operands, cpu=over_windows, default=tap_by_tap).astype(out_dtype)


def _tap_by_tap(spec, padded, y):
    """All taps of `adjoint_w` computed one by one and stacked."""

    def one(tap):
        x = spec.tap_slice(padded, tap)
        return x[..., :, None] * y[..., None, :] if spec.full else spec.split_channels(x * y).sum(-1)

    return jnp.stack([one(tap) for tap in spec.taps()], axis=1 + spec.ndim).reshape(y.shape[0], *spec.kernel_shape)


def _over_windows(spec, padded, y):
    """The same as one elementwise product for every channel of a group: on CPU 2 to 8 times faster than stacking.

    The taps are one axis, without which the compiler may choose another layout and copy the result; for one channel
    it is the last reshape that would cost the copy.
    """
    taps = tuple(range(1 + spec.ndim, 1 + 2 * spec.ndim))
    if spec.full:
        return spec.windows(padded)[..., None] * jnp.expand_dims(y, (*taps, taps[-1] + 1))

    def product(x, y):
        if spec.in_features == 1 and set(spec.kernel_dilation) == {1}:
            return _whole_windows(spec, x) * jnp.expand_dims(y, taps)
        if spec.in_features == 1:
            return spec.windows(x) * jnp.expand_dims(y, taps)
        return (spec.flatten_taps(spec.windows(x)) * jnp.expand_dims(y, taps[0])).reshape(
            y.shape[0], *spec.kernel_shape
        )

    share = spec.in_features // spec.kernel_count
    if share == 1:
        return product(padded, y)
    # (Cin/G, ..., G): a few channels of every group are one step, which adds to a sum of the size of the result.
    x, y = (jnp.moveaxis(spec.split_channels(a), -1, 0) for a in (padded, y))
    step = next(n for n in range(min(share, UNROLLED_SHARE), 0, -1) if share % n == 0)

    def some(x, y):
        return sum_arrays(product(x[i], y[i]) for i in range(step))

    x, y = (a.reshape(share // step, step, *a.shape[1:]) for a in (x, y))
    return lax.scan(lambda total, xy: (total + some(*xy), None), some(x[0], y[0]), (x[1:], y[1:]))[0]


def _whole_windows(spec, padded):
    """`spec.windows` without dilation as one gather of (*kernel_size, C) blocks, whose result needs no transposition.

    For a batch of one the compiler would not fuse that transposition (3 to 5 times slower).
    """
    batch, n = padded.shape[0], spec.ndim
    starts = np.stack(np.meshgrid(*map(np.multiply, map(np.arange, spec.out_spatial), spec.strides), indexing='ij'), -1)
    starts = jnp.broadcast_to(jnp.asarray(starts, jnp.int32)[None], (batch, *spec.out_spatial, n))
    places = lax.GatherDimensionNumbers(
        offset_dims=tuple(range(1 + n, 2 + 2 * n)),
        collapsed_slice_dims=(),
        start_index_map=tuple(range(1, 1 + n)),
        operand_batching_dims=(0,),
        start_indices_batching_dims=(0,),
    )
    return lax.gather(padded, starts, places, (1, *spec.kernel_size, padded.shape[-1]), mode='clip')
