"""Sample by sample: mix its kernel and convolve at once, in cache; on several devices each does its own samples.

The weight gradient of one sample's convolution is slow in XLA's CPU compiler, so the backward pass is another one:
chunk by chunk of rows where kernels are small, else block by block of the bank.
"""

import jax
from jax import lax

from flax_dynconv.ops._dispatch import known_batch_of_one
from flax_dynconv.ops._sharding import per_device
from flax_dynconv.ops.mixture_conv import _fused, blocks, columns
from flax_dynconv.ops.mixture_conv._sample_chunks import in_chunks
from flax_dynconv.ops.mixture_conv.mixing import mix, mix_by_sums
from flax_dynconv.ops.per_sample_conv import _rows
from flax_dynconv.ops.per_sample_conv import loop as per_sample


def declines(spec, batch, num_kernels, per_output, taps):
    """Nothing is declined."""
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y[b] = conv(x[b], tap_scale[b] sum_k weights[b, k] kernels[k]), b after b."""
    return _fused.apply(forward, backward, spec, out_dtype, (x, kernels, weights, tap_scale))


def forward(spec, out_dtype, x, kernels, weights, tap_scale):
    """y, where only one sample's kernel exists at a time."""
    scales, mixed = () if tap_scale is None else (tap_scale,), mix if weights.ndim == 2 else mix_by_sums

    def one(kernels, x, weights, *scale):
        w = mixed(kernels, weights[None], scale[0][None] if scale else None, x.dtype)
        return per_sample.one(spec, out_dtype, x, w[0])

    def each(x, weights, *rest):
        *scale, kernels = rest
        if known_batch_of_one(x.shape[0]):
            return one(kernels, x[0], weights[0], *(s[0] for s in scale))[None]
        return lax.map(lambda sample: one(kernels, *sample), (x, weights, *scale))

    def together(x, weights, *rest):
        *scale, kernels = rest
        return _fused.differentiable.apply(spec, out_dtype, x, kernels, weights, scale[0] if scale else None)

    return per_device(each, (x, weights, *scales), (kernels,), together)


def backward(spec, x, kernels, weights, tap_scale, g):
    """All cotangents."""
    return in_chunks(_backward, spec, x, kernels, weights, tap_scale, g)


def _backward(spec, x, kernels, weights, tap_scale, g):
    case = (spec, x.shape[0], len(kernels), weights.ndim == 3, tap_scale is not None)
    if _rows.suits(spec, x.shape[0], x.dtype):
        w, unmix = jax.vjp(lambda k, a, t: mix(k, a, t, x.dtype), kernels, weights, tap_scale)
        dx, dw = _rows.adjoints(spec, x, w, g)
        return dx.astype(x.dtype), *unmix(dw.astype(x.dtype))
    if len(kernels) == 1 and columns.declines(*case) is None:
        return columns.backward(spec, x, kernels, weights, tap_scale, g)
    if blocks.declines(*case) is None:
        return blocks.at_once(spec, x, kernels, weights, tap_scale, g)
    return _fused.plain_gradients(spec, (x, kernels, weights, tap_scale), g)
