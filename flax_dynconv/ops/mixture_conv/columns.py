"""Scaled columns times the bank, tap by tap: static products over all samples and no per-sample kernels.

The input-side mixture of features with all its products as wide as they can be: K times the operations of a static
convolution, forward and in the gradients, but no memory for kernels. For small outputs, where a per-sample kernel is
read for few positions, and for a bank of one with factors per tap.
"""

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import zeros
from flax_dynconv.ops.mixture_conv import _fused
from flax_dynconv.ops.mixture_conv._kernel_blocks import KernelBlocks, coefficients_of
from flax_dynconv.ops.mixture_conv._sides import columns_of, sides_of
from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype


def declines(spec, batch, num_kernels, per_output, taps):
    """Weights per output channel do not commute with the product; groups would make it small."""
    if spec.groups > 1:
        return f'columns needs feature_group_count=1, got {spec.groups}'
    if per_output:
        return 'columns needs weights (B, K), got (B, K, Cout): mix on the output side with features_out'
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y = sum_t sum_k (tap_scale[:, t] weights[:, k] shift_t(x)) kernels[k, t]."""
    return _fused.apply(forward, backward, spec, out_dtype, (x, kernels, weights, tap_scale))


def forward(spec, out_dtype, x, kernels, weights, tap_scale):
    """y, summed over the taps in the accumulation dtype."""
    b, acc, blocks = x.shape[0], contract_dtype(x), KernelBlocks(spec, 1)
    padded, bank = spec.pad(x), blocks.flatten(kernels.astype(x.dtype))
    factors = coefficients_of(spec, weights, tap_scale, acc)

    def step(tap, channel, y):
        columns = _scaled(columns_of(blocks, padded, tap, channel), factors(tap))
        return y + contract('bpi,io->bpo', columns, _matrix(blocks.read(bank, tap, channel)), acc, spec.precision)

    y = blocks.loop(step, zeros((b, spec.num_positions, spec.out_features), acc, like=x))
    return y.reshape(b, *spec.out_spatial, spec.out_features).astype(out_dtype)


def backward(spec, x, kernels, weights, tap_scale, g):
    """All cotangents in one pass over the taps."""
    b, k, c, acc = x.shape[0], len(kernels), spec.in_features, contract_dtype(x)
    blocks = KernelBlocks(spec, 1)
    bank, factors = blocks.flatten(kernels.astype(x.dtype)), coefficients_of(spec, weights, tap_scale, acc)
    sides = sides_of(blocks, x, g)

    def step(tap, channel, carry):
        dx, dbank, dfactors = carry
        columns, cotangent, factor = sides.columns(tap, channel), sides.cotangent(tap), factors(tap)
        w = _matrix(blocks.read(bank, tap, channel))
        pulled = contract('bpo,io->bpi', cotangent, w, acc, spec.precision).reshape(b, -1, k, c)
        dw = contract('bpi,bpo->io', _scaled(columns, factor), cotangent, acc, spec.precision)
        of_factors = jnp.einsum('bpki,bpi->bk', pulled, columns.astype(acc), precision=lax.Precision.HIGHEST)
        # Written out over the kernels: a sum over an axis in the middle is slow in XLA's CPU compiler.
        mixed = sum(pulled[:, :, i] * factor[:, i, None, None] for i in range(1, k)) if k > 1 else 0
        dx = sides.add(dx, pulled[:, :, 0] * factor[:, 0, None, None] + mixed, tap, channel)
        dbank = blocks.write(dbank, dw.reshape(k, c, -1), tap, channel)
        return dx, dbank, lax.dynamic_update_index_in_dim(dfactors, of_factors, tap, 0)

    shapes = sides.shape, bank.shape, (spec.num_taps, b, k)
    dx, dbank, dfactors = blocks.loop(step, tuple(zeros(shape, acc, like=x) for shape in shapes))
    dbank = dbank.astype(kernels.dtype).reshape(kernels.shape)
    if tap_scale is None:
        return sides.finish(dx).astype(x.dtype), dbank, dfactors.sum(0).astype(weights.dtype), None
    scale = tap_scale.astype(acc).reshape(b, spec.num_taps)
    dweights = (dfactors * scale.T[:, :, None]).sum(0).astype(weights.dtype)
    dscale = (dfactors * weights.astype(acc)[None]).sum(2).T.reshape(tap_scale.shape).astype(tap_scale.dtype)
    return sides.finish(dx).astype(x.dtype), dbank, dweights, dscale


def _matrix(block):
    """(K, Cin, Cout) -> (K Cin, Cout)."""
    return block.reshape(-1, block.shape[-1])


def _scaled(columns, factors):
    """(B, P, C) times (B, K): (B, P, K C), multiplied in the accumulation dtype, cast back."""
    b, p, c = columns.shape
    scaled = columns.astype(factors.dtype)[:, :, None] * factors[:, None, :, None]
    return scaled.astype(columns.dtype).reshape(b, p, factors.shape[1] * c)
