"""A bank of one kernel with factors per tap, tap by tap: scaled columns times the kernel itself, no per-sample kernels.

Its products are static ones, over all samples at once. Blocks are whole taps here: nothing is mixed.
"""

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import zeros
from flax_dynconv.ops.mixture_conv._kernel_blocks import KernelBlocks, of_tap
from flax_dynconv.ops.mixture_conv._sides import columns_of, sides_of
from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype


def forward(spec, out_dtype, x, kernels, weights, tap_scale):
    """y = sum_t (tap_scale[:, t] weights shift_t(x)) W_t."""
    b, acc, blocks = x.shape[0], contract_dtype(x), KernelBlocks(spec, 1)
    padded, bank, scale = spec.pad(x), blocks.flatten(kernels.astype(x.dtype)), _scale(spec, weights, tap_scale, acc)

    def step(tap, channel, y):
        columns = _scaled(columns_of(blocks, padded, tap, channel), of_tap(scale, tap))
        w = blocks.read(bank, tap, channel)[0]
        return y + contract('bpi,io->bpo', columns, w, acc, spec.precision)

    y = blocks.loop(step, zeros((b, spec.num_positions, spec.out_features), acc, like=x))
    return y.reshape(b, *spec.out_spatial, spec.out_features).astype(out_dtype)


def backward(spec, x, kernels, weights, tap_scale, g):
    """All cotangents in one pass over the taps."""
    acc, blocks = contract_dtype(x), KernelBlocks(spec, 1)
    bank, scale = blocks.flatten(kernels.astype(x.dtype)), _scale(spec, weights, tap_scale, acc)
    sides = sides_of(blocks, x, g, acc)

    def step(tap, channel, carry):
        dx, dbank, dscale = carry
        columns, cotangent, factor = sides.columns(tap, channel), sides.cotangent(tap), of_tap(scale, tap)
        w = blocks.read(bank, tap, channel)[0]
        pulled = contract('bpo,io->bpi', cotangent, w, acc, spec.precision)
        dw = contract('bpi,bpo->io', columns, _scaled(cotangent, factor), acc, spec.precision)
        of_scale = jnp.einsum('bpi,bpi->b', pulled, columns.astype(acc), precision=lax.Precision.HIGHEST)
        dx = sides.add(dx, pulled * factor[:, :, None], tap, channel)
        return (
            dx,
            blocks.write(dbank, dw[None], tap, channel),
            lax.dynamic_update_slice_in_dim(dscale, of_scale[:, None], tap, 1),
        )

    initial = tuple(zeros(shape, acc, like=x) for shape in (sides.shape, bank.shape, scale.shape))
    dx, dbank, dscale = blocks.loop(step, initial)
    dbank = dbank.astype(kernels.dtype).reshape(kernels.shape)
    dweights = (dscale * _taps(spec, tap_scale, acc)).sum(1, keepdims=True).astype(weights.dtype)
    dtaps = (dscale * weights.astype(acc)).reshape(tap_scale.shape).astype(tap_scale.dtype)
    return sides.finish(dx).astype(x.dtype), dbank, dweights, dtaps


def _taps(spec, tap_scale, acc):
    return tap_scale.astype(acc).reshape(tap_scale.shape[0], spec.num_taps)


def _scale(spec, weights, tap_scale, acc):
    """One factor per sample and tap, (B, T)."""
    return _taps(spec, tap_scale, acc) * weights.astype(acc)


def _scaled(columns, factor):
    """Columns times a factor per sample, in the accumulation dtype, cast back."""
    return (columns.astype(factor.dtype) * factor[:, :, None]).astype(columns.dtype)
