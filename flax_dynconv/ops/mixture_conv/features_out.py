"""Mix features on the output side: a weighted sum of K static convolutions, DyNet's training form."""

import jax.numpy as jnp

from flax_dynconv.ops.mixture_conv.mixing import scale_channels, scale_samples
from flax_dynconv.ops.per_sample_conv.patches import contract_dtype, sum_arrays


def declines(spec, batch, num_kernels, per_output, taps):
    """A factor per tap acts inside the convolution."""
    if taps:
        return 'features_out cannot apply tap_scale, which acts inside the convolution'
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y = sum_k weights[:, k] conv(x, kernels[k])."""
    acc = contract_dtype(x)
    # A wider result is summed in its own dtype, not rounded to that of x first.
    x = x.astype(jnp.promote_types(x.dtype, out_dtype))
    kernels = kernels.astype(x.dtype)
    scale = scale_channels if weights.ndim == 3 else scale_samples
    convs = (spec.static_conv(x, kernels[k]).astype(acc) for k in range(len(kernels)))
    return sum_arrays(scale(y, weights[:, k]) for k, y in enumerate(convs)).astype(out_dtype)
