"""Block by block of the bank: mix a block for all samples, use it while it is in cache, go on to the next.

No kernel of a sample is ever whole: the largest temporary is one block, whose memory a loop uses again. The batch is a
leading axis of every product, so that a sharded batch needs no gather.
"""

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import zeros
from flax_dynconv.ops.mixture_conv import _fused
from flax_dynconv.ops.mixture_conv._kernel_blocks import KernelBlocks, coefficients_of, mix_block, of_tap, unmix_block
from flax_dynconv.ops.mixture_conv._sample_chunks import in_chunks
from flax_dynconv.ops.mixture_conv._sides import columns_of, sides_of
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
    padded, bank, coefficients = spec.pad(x), blocks.flatten(kernels), coefficients_of(spec, weights, tap_scale, acc)

    def step(tap, channel, y):
        w = mix_block(coefficients(tap), blocks.read(bank, tap, channel), x.dtype)
        columns = columns_of(blocks, padded, tap, channel)
        return y + contract('bpi,bio->bpo', columns, w, acc, spec.precision)

    y = blocks.loop(step, zeros((b, spec.num_positions, spec.out_features), acc, like=x))
    return y.reshape(b, *spec.out_spatial, spec.out_features).astype(out_dtype)


def backward(spec, x, kernels, weights, tap_scale, g):
    """All cotangents."""
    return in_chunks(at_once, spec, x, kernels, weights, tap_scale, g)


def at_once(spec, x, kernels, weights, tap_scale, g):
    """All cotangents in one pass over the blocks, for all samples."""
    b, acc, blocks = x.shape[0], contract_dtype(x), KernelBlocks.of(spec, x.shape[0], x.dtype)
    bank, coefficients = blocks.flatten(kernels), coefficients_of(spec, weights, tap_scale, acc)
    sides = sides_of(blocks, x, g)

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
