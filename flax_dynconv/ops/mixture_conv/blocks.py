"""Block by block of the bank: mix a block for all samples, use it while it is in cache, go on to the next.

No kernel of a sample is ever whole: the largest temporary is one block, whose memory a loop uses again. The batch is a
leading axis of every product, so that a sharded batch needs no gather.
"""

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import zeros
from flax_dynconv.ops.mixture_conv import _fused
from flax_dynconv.ops.mixture_conv._kernel_blocks import KernelBlocks, mix_block, of_tap, unmix_block
from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype


def declines(spec, batch, num_kernels, per_output, taps):
    """Groups would make small products, weights per output channel none at all."""
    if spec.groups > 1:
        return f'blocks needs feature_group_count=1, got {spec.groups}'
    if per_output:
        return 'blocks needs weights (B, K), got (B, K, Cout)'
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y = sum_t shift_t(x) (sum_k tap_scale[:, t] weights[:, k] kernels[k, t])."""
    return _fused.apply(forward, backward, spec, out_dtype, (x, kernels, weights, tap_scale))


def forward(spec, out_dtype, x, kernels, weights, tap_scale):
    """y, summed over the blocks in the accumulation dtype."""
    b, acc, blocks = x.shape[0], contract_dtype(x), KernelBlocks.of(spec, x.shape[0], x.dtype)
    padded, bank, coefficients = spec.pad(x), blocks.flatten(kernels), _coefficients(spec, weights, tap_scale, acc)

    def step(tap, channel, y):
        w = mix_block(coefficients(tap), blocks.read(bank, tap, channel), x.dtype)
        columns = _columns(blocks, padded, tap, channel)
        return y + contract('bpi,bio->bpo', columns, w, acc, spec.precision)

    y = blocks.loop(step, zeros((b, spec.num_positions, spec.out_features), acc, like=x))
    return y.reshape(b, *spec.out_spatial, spec.out_features).astype(out_dtype)


def backward(spec, x, kernels, weights, tap_scale, g):
    """All cotangents in one pass over the blocks."""
    b, acc, blocks = x.shape[0], contract_dtype(x), KernelBlocks.of(spec, x.shape[0], x.dtype)
    bank, coefficients = blocks.flatten(kernels), _coefficients(spec, weights, tap_scale, acc)
    by_output = set(spec.strides) == set(spec.input_dilation) == {1}
    sides = (_ByOutput if by_output else _ByInput)(blocks, x, g, acc)

    def step(tap, channel, carry):
        dx, dbank, dweights, dscale = carry
        block, factors = blocks.read(bank, tap, channel), coefficients(tap)
        columns, cotangent = sides.columns(tap, channel), sides.cotangent(tap)
        w = mix_block(factors, block, x.dtype)
        dx = sides.add(dx, contract('bpo,bio->bpi', cotangent, w, acc, spec.precision), tap, channel)
        dw = contract('bpi,bpo->bio', columns, cotangent, acc, spec.precision)
        dfactors, dblock = unmix_block(factors, block, dw)
        if tap_scale is None:
            return dx, blocks.write(dbank, dblock, tap, channel), dweights + dfactors, None
        dweights = dweights + dfactors * of_tap(scale, tap)
        of_scale = of_tap(dscale, tap) + (dfactors * weights.astype(acc)).sum(1, keepdims=True)
        dscale = lax.dynamic_update_slice_in_dim(dscale, of_scale, tap, 1)
        return dx, blocks.write(dbank, dblock, tap, channel), dweights, dscale

    scale = None if tap_scale is None else tap_scale.astype(acc).reshape(b, spec.num_taps)
    initial = (
        zeros(sides.shape, acc, like=x),
        zeros(bank.shape, jnp.promote_types(kernels.dtype, acc), like=x),
        zeros(weights.shape, acc, like=x),
        None if scale is None else zeros(scale.shape, acc, like=x),
    )
    dx, dbank, dweights, dscale = blocks.loop(step, initial)
    dscale = None if scale is None else dscale.astype(tap_scale.dtype).reshape(tap_scale.shape)
    dbank = dbank.astype(kernels.dtype).reshape(kernels.shape)
    return sides.finish(dx).astype(x.dtype), dbank, dweights.astype(weights.dtype), dscale


def _coefficients(spec, weights, tap_scale, acc):
    """tap -> what its kernels are mixed with, (B, K)."""
    weights = weights.astype(acc)
    if tap_scale is None:
        return lambda tap: weights
    scale = tap_scale.astype(acc).reshape(tap_scale.shape[0], spec.num_taps)
    return lambda tap: weights * of_tap(scale, tap)


def _columns(blocks, padded, tap, channel):
    """(B, P, channels): what a tap reads of the padded input at every output position."""
    spec, b = blocks.spec, padded.shape[0]
    extent = [(o - 1) * s + 1 for o, s in zip(spec.out_spatial, spec.strides, strict=True)]
    window = lax.dynamic_slice(padded, (0, *blocks.offset(tap), channel), (b, *extent, blocks.channels))
    if set(spec.strides) != {1}:
        window = lax.slice(window, (0,) * window.ndim, window.shape, (1, *spec.strides, 1))
    return window.reshape(b, spec.num_positions, blocks.channels)


class _ByInput:
    """Positions are those of the output: columns of the input are read, cotangents added where they were read."""

    def __init__(self, blocks, x, g, acc):
        self.blocks, self.spec, self.acc, self.x = blocks, blocks.spec, acc, x
        self.padded, self.g = self.spec.pad(x), g.reshape(x.shape[0], self.spec.num_positions, g.shape[-1])
        self.shape = self.padded.shape

    def columns(self, tap, channel):
        return _columns(self.blocks, self.padded, tap, channel)

    def cotangent(self, tap):
        return self.g

    def add(self, dx, columns, tap, channel):
        spec, n = self.spec, self.spec.ndim
        placed = columns.reshape(-1, *spec.out_spatial, self.blocks.channels)
        interior = [(0, 0, 0), *((0, 0, s - 1) for s in spec.strides), (0, 0, 0)]
        placed = lax.pad(placed, jnp.zeros((), placed.dtype), interior)
        start = (0, *self.blocks.offset(tap), channel)
        return lax.dynamic_update_slice(dx, lax.dynamic_slice(dx, start, placed.shape) + placed, start)

    def finish(self, dx):
        return jax.linear_transpose(self.spec.pad, jax.ShapeDtypeStruct(self.x.shape, self.acc))(dx)[0]


class _ByOutput:
    """Positions are those of the input: shifted cotangents are read, and serve both products. Strides of one only."""

    def __init__(self, blocks, x, g, acc):
        self.blocks, self.spec, self.x = blocks, blocks.spec, x
        spec = self.spec
        reach = [(k - 1) * d for k, d in zip(spec.kernel_size, spec.kernel_dilation, strict=True)]
        pads = [(r - lo, r - hi, 0) for r, (lo, hi) in zip(reach, spec.padding, strict=True)]
        self.g = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
        self.flat = x.reshape(x.shape[0], -1, x.shape[-1])
        self.shape = self.flat.shape

    def columns(self, tap, channel):
        return lax.dynamic_slice_in_dim(self.flat, channel, self.blocks.channels, 2)

    def cotangent(self, tap):
        # The mirror image of the tap: where it read at +t, its cotangent comes from -t.
        start = (0, *self.blocks.offset(self.spec.num_taps - 1 - tap), 0)
        shape = (self.g.shape[0], *self.spec.in_spatial, self.g.shape[-1])
        return lax.dynamic_slice(self.g, start, shape).reshape(shape[0], -1, shape[-1])

    def add(self, dx, columns, tap, channel):
        if self.blocks.parts == 1:
            return dx + columns
        part = lax.dynamic_slice_in_dim(dx, channel, self.blocks.channels, 2)
        return lax.dynamic_update_slice_in_dim(dx, part + columns, channel, 2)

    def finish(self, dx):
        return dx.reshape(self.x.shape)
