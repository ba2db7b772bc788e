"""The definition of `mixture_conv`: mix the kernels of every sample, then convolve. Differentiates both ways."""

from flax_dynconv.ops.mixture_conv.mixing import mix
from flax_dynconv.ops.per_sample_conv import reference


def declines(spec, batch, num_kernels, per_output, taps):
    """Nothing is declined."""
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y[b] = conv(x[b], tap_scale[b] sum_k weights[b, k] kernels[k])."""
    return reference.apply(spec, out_dtype, x, mix(kernels, weights, tap_scale, x.dtype))
