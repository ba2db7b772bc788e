"""Depthwise on CPU: one fused pass per block of channels forward, a loop over blocks of positions for the kernel.

XLA's CPU compiler turns a sum of slices times factors into one vectorised loop on all cores, as long as it is an
elementwise fusion whose operands are plain arrays. What it is bad at is avoided: sums of padded arrays, reductions
over axes in the middle, and rows of many channels, whose taps do not fit the first-level cache.
"""

import dataclasses
import itertools
import math

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops.per_sample_conv.patches import contract_dtype, sum_arrays

# More rows times channels than this leave the first-level cache: blocks of channels are then up to 2 times faster and
# need smaller copies. Filling in the blocks of a kernel's gradient pays only beside so many positions.
CACHED, CHANNEL_BLOCK, MANY_POSITIONS = 12_000, 128, 1_000
# Beside fewer positions an output's blocks are a list, if not too many. Each is code of its own: they are wider.
LISTED_BLOCK = 256
# An output of more elements (32 MB) is cut into narrower blocks, whose copies need less memory.
LARGE, LARGE_BLOCK = 8_000_000, 64
# Taps that are added up in two parts.
MANY_TAPS = 25
# Positions that one step of the kernel's gradient adds up. Below 16 the compiler would slice anew for every one.
POSITIONS = 64


def correlate(spec, out_dtype, x, w, max_parts=8):
    """sum_t shift_t(x) w_t for x (B, *spatial, C) and w (B, *kernel_size, 1, C), in a list of at most so many parts."""
    acc = contract_dtype(x, w)
    w = w.reshape(w.shape[0], spec.num_taps, w.shape[-1])

    def block(x, w):
        padded, w = spec.pad(x).astype(acc), w.astype(acc)
        factor = (w.shape[0], *(1,) * spec.ndim, w.shape[-1])
        terms = [spec.tap_slice(padded, t) * w[:, i].reshape(factor) for i, t in enumerate(spec.taps())]
        # Two sums, then theirs: a sum of 25 taps one after the other loses up to three times as much to rounding.
        half = len(terms) // 2 if len(terms) >= MANY_TAPS else 0
        parts = (sum_arrays(part) for part in (terms[:half], terms[half:]) if part)
        return sum_arrays(parts).astype(out_dtype)

    if spec.num_positions < MANY_POSITIONS and max_parts:
        return _by_channels(spec.num_taps, block, x, w, widest=LISTED_BLOCK, max_parts=max_parts)
    # A symbolic batch counts as one sample.
    size = (x.shape[0] if isinstance(x.shape[0], int) else 1) * spec.num_positions * x.shape[-1]
    return _by_channels(spec.num_taps, block, x, w, widest=CHANNEL_BLOCK if size <= LARGE else LARGE_BLOCK)


def correlate_back(spec, out_dtype, y, w):
    """The adjoint of `correlate` with respect to x: a correlation with flipped kernels, or one for every phase."""
    if set(spec.strides) == {1} or set(spec.input_dilation) != {1}:
        # In a loop: lists of parts of both directions may be in memory together.
        return correlate(_transposed(spec), out_dtype, y, jnp.flip(w, range(1, 1 + spec.ndim)), max_parts=0)
    acc = contract_dtype(y, w)
    phases = tuple(itertools.product(*map(range, spec.strides)))
    # The tap t reads input s q + r, phase r, for the output q + (r + low - d t) / s.
    offsets = [[(i, shift) for i, t in enumerate(spec.taps()) if (shift := _shift(spec, r, t))] for r in phases]
    sizes = tuple(-(-n // s) for n, s in zip(spec.in_spatial, spec.strides, strict=True))
    shifts = [(0,) * spec.ndim, *(shift for phase in offsets for _, shift in phase)]
    lows, highs = [max(0, -min(v)) for v in zip(*shifts, strict=True)], [max(v) for v in zip(*shifts, strict=True)]
    pads = [(lo, max(0, hi + n - o), 0) for lo, hi, n, o in zip(lows, highs, sizes, spec.out_spatial, strict=True)]
    y, w = _pad(y, pads).astype(acc), w.astype(acc).reshape(w.shape[0], spec.num_taps, w.shape[-1])
    batch, channels = y.shape[0], y.shape[-1]

    def term(i, shift):
        start = [v + lo for v, lo in zip(shift, lows, strict=True)]
        limit = [a + n for a, n in zip(start, sizes, strict=True)]
        here = lax.slice(y, (0, *start, 0), (batch, *limit, channels))
        return here * w[:, i].reshape(w.shape[0], *(1,) * spec.ndim, channels)

    zero = jnp.zeros((batch, *sizes, channels), acc)
    parts = [sum_arrays(term(*o) for o in phase) if phase else zero for phase in offsets]
    for axis in reversed(range(spec.ndim)):
        # Neighbouring phases of this axis take turns along it.
        s, shape = spec.strides[axis], list(parts[0].shape)
        shape[1 + axis] *= s
        parts = [jnp.stack(parts[i : i + s], axis=2 + axis).reshape(shape) for i in range(0, len(parts), s)]
    return lax.slice(parts[0], (0,) * y.ndim, (batch, *spec.in_spatial, channels)).astype(out_dtype)


def _shift(spec, phase, tap):
    """By how much the output that reads input s q + phase through `tap` is after q, or None if there is none."""
    sizes = zip(phase, tap, spec.padding, spec.kernel_dilation, spec.strides, strict=True)
    quotients = [divmod(r + lo - t * d, s) for r, t, (lo, _), d, s in sizes]
    return None if any(rest for _, rest in quotients) else tuple(q for q, _ in quotients)


def _transposed(spec):
    """The spec whose convolution with flipped kernels is the adjoint of `spec` with respect to x."""
    sizes = zip(spec.in_spatial, spec.out_spatial, spec.kernel_size, spec.strides, spec.padding, spec.input_dilation,
                spec.kernel_dilation, strict=True)  # fmt: skip
    pads = tuple(((k - 1) * d - lo, (n - 1) * u + 1 - ((o - 1) * s + 1) + lo) for n, o, k, s, (lo, _), u, d in sizes)
    return dataclasses.replace(
        spec, in_spatial=spec.out_spatial, padding=pads, strides=spec.input_dilation, input_dilation=spec.strides
    )


def kernel_gradient(spec, out_dtype, x, y):
    """w_t = sum over positions of shift_t(x) y for x (B, *spatial, C) and y (B, *out_spatial, C)."""
    acc = contract_dtype(x, y)
    size = _position_block(spec.out_spatial)
    count = tuple(-(-o // u) for o, u in zip(spec.out_spatial, size, strict=True))
    span = tuple(
        (u - 1) * s + (k - 1) * d + 1
        for u, s, k, d in zip(size, spec.strides, spec.kernel_size, spec.kernel_dilation, strict=True)
    )
    # Whole blocks: positions that are too many meet zeros in y.
    y_pads = [(0, u * c - o, 0) for u, c, o in zip(size, count, spec.out_spatial, strict=True)]
    x_pads = [
        (0, max(0, (c - 1) * u * s + m - p), 0)
        for c, u, s, m, p in zip(count, size, spec.strides, span, spec.padded_spatial, strict=True)
    ]

    def one_position(x, y, position):
        start = [p * s for p, s in zip(position, spec.strides, strict=True)]
        limit = [a + (k - 1) * d + 1 for a, k, d in zip(start, spec.kernel_size, spec.kernel_dilation, strict=True)]
        x = lax.slice(x, (0, *start, 0), (x.shape[0], *limit, x.shape[-1]), (1, *spec.kernel_dilation, 1))
        here = lax.slice(y, (0, *position, 0), (y.shape[0], *(p + 1 for p in position), y.shape[-1]))
        return x * here

    def block(x, y):
        x, y = _pad(spec.pad(x), x_pads), _pad(y, y_pads)

        def step(i, total):
            index = jnp.unravel_index(i, count)
            x_start = (0, *(j * (u * s) for j, u, s in zip(index, size, spec.strides, strict=True)), 0)
            y_start = (0, *(j * u for j, u in zip(index, size, strict=True)), 0)
            part_x = lax.dynamic_slice(x, x_start, (x.shape[0], *span, x.shape[-1])).astype(acc)
            part_y = lax.dynamic_slice(y, y_start, (y.shape[0], *size, y.shape[-1])).astype(acc)
            return total + sum_arrays(one_position(part_x, part_y, p) for p in itertools.product(*map(range, size)))

        # Made of x, so that it varies over the same axes where the user maps over a mesh.
        none = lax.slice(x, (0,) * x.ndim, (x.shape[0], *(0,) * spec.ndim, x.shape[-1]))
        zero = _pad(none, [(0, k, 0) for k in spec.kernel_size]).astype(acc)
        if math.prod(count) == 1:
            return step(0, zero).astype(out_dtype)
        return lax.fori_loop(0, math.prod(count), step, zero).astype(out_dtype)

    w = _by_channels(POSITIONS if spec.num_positions >= MANY_POSITIONS else 1, block, x, y)
    return w.reshape(w.shape[0], *spec.kernel_size, 1, w.shape[-1])


def _pad(x, pads):
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)]) if any(map(any, pads)) else x


def _position_block(spatial):
    """The block of output positions, about `POSITIONS` of them, that cuts every axis into nearly equal parts."""
    size, left = [1] * len(spatial), POSITIONS
    order = sorted(range(len(spatial)), key=spatial.__getitem__)
    for done, axis in enumerate(order):
        most = max(1, round(left ** (1 / (len(order) - done))))
        size[axis] = -(-spatial[axis] // -(-spatial[axis] // most))
        left //= size[axis]
    return tuple(size)


def _by_channels(rows, f, *operands, widest=CHANNEL_BLOCK, max_parts=0):
    """f on blocks of the last axis of all operands, which its result has too; f goes through `rows` rows at once.

    The blocks are a list if there are at most `max_parts` of them, else a loop.
    """
    channels = operands[0].shape[-1]
    block = next(c for c in range(min(channels, widest), 0, -1) if channels % c == 0)
    if rows * channels <= CACHED or block == channels or 2 * block < widest:
        return f(*operands)

    def part(i):
        if isinstance(i, int):
            return f(*(lax.slice_in_dim(o, i * block, (i + 1) * block, axis=-1) for o in operands))
        return f(*(lax.dynamic_slice_in_dim(o, i * block, block, axis=-1) for o in operands))

    count = channels // block
    if count <= max_parts:
        # A loop would put the parts into their places on one core.
        return jnp.concatenate([part(i) for i in range(count)], axis=-1)
    first = part(0)
    total = lax.pad(first, jnp.zeros((), first.dtype), [*[(0, 0, 0)] * (first.ndim - 1), (0, channels - block, 0)])

    def step(i, carry):
        # The previous part is put into its place: were it this one, its sum would be fused with that and run on one
        # core.
        total, previous = carry
        return lax.dynamic_update_slice_in_dim(total, previous, (i - 1) * block, axis=-1), part(i)

    total, last = lax.fori_loop(1, count, step, (total, first))
    return lax.dynamic_update_slice_in_dim(total, last, channels - block, axis=-1)
