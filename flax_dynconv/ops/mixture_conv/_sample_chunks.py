"""A backward pass for some samples after others: what belongs to them all at once would not fit the cache."""

import jax
import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops._sharding import per_device, zeros
from flax_dynconv.ops.choice.work import CACHED_BYTES
from flax_dynconv.ops.per_sample_conv.patches import contract_dtype

# Samples of a chunk. Measured on CPU at 56x56x64 to 14x14x256, forward and gradient: 32 at once take 1.05 to 1.3
# times as long as four times 8 of them.
SAMPLES = 8


def chunk_size(samples: int, bank_bytes: int) -> int:
    """How many samples are taken at a time."""
    if bank_bytes > CACHED_BYTES:
        return samples
    size = max(n for n in range(1, SAMPLES + 1) if samples % n == 0)
    return samples if size < SAMPLES // 2 else size


def in_chunks(backward, spec, x, kernels, weights, tap_scale, g):
    """backward(spec, x, kernels, weights, tap_scale, g), of at most `SAMPLES` samples of every device at a time."""
    # The gradient of a bank is added up chunk by chunk, if it stays in cache meanwhile.
    bank_bytes = kernels.size * contract_dtype(x).itemsize
    if not isinstance(x.shape[0], int) or x.shape[0] <= SAMPLES or bank_bytes > CACHED_BYTES:
        return backward(spec, x, kernels, weights, tap_scale, g)
    scales = () if tap_scale is None else (tap_scale,)

    def whole(x, weights, g, *rest):
        *scale, kernels = rest
        dx, dkernels, dweights, dscale = backward(spec, x, kernels, weights, scale[0] if scale else None, g)
        return (dx, dweights, *((dscale,) if scale else ())), dkernels

    def each(x, weights, g, *rest):
        *scale, kernels = rest
        size = chunk_size(x.shape[0], bank_bytes)
        if x.shape[0] == size:
            return whole(x, weights, g, *rest)
        chunks = [a.reshape(-1, size, *a.shape[1:]) for a in (x, weights, g, *scale)]

        def step(total, chunk):
            batched, dkernels = whole(*chunk, kernels)
            return total + dkernels.astype(total.dtype), batched

        start = zeros(kernels.shape, jnp.promote_types(kernels.dtype, jnp.float32), like=x)
        dkernels, batched = lax.scan(step, start, tuple(chunks))
        batched = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), batched)
        return batched, dkernels.astype(kernels.dtype)

    (dx, dweights, *dscale), dkernels = per_device(each, (x, weights, g, *scales), (kernels,), whole)
    return dx, dkernels, dweights, dscale[0] if dscale else None
