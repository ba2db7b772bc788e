"""Mix features on the input side: a sum of K static convolutions of scaled inputs.

The best pure-XLA form for k x k kernels on TPU: exactly K static convolutions, forward and in the gradients. The K are
never fused into the channels there (the reshape breaks the layouts); taps and pointwise kernels are matrix products,
where fusing them is best.
"""

import jax.numpy as jnp

from flax_dynconv.ops.mixture_conv.mixing import scale_samples
from flax_dynconv.ops.per_sample_conv.patches import contract, contract_dtype, sum_arrays


def declines(spec, batch, num_kernels, per_output, taps):
    """Weights per output channel do not commute with the convolution on its input side."""
    if per_output:
        return 'features_in needs weights (B, K), got (B, K, Cout): mix on the output side with features_out'
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y = sum_k conv(weights[:, k] x, kernels[k])."""
    acc = contract_dtype(x)
    # A wider result is summed in its own dtype, not rounded to that of x first.
    x = x.astype(jnp.promote_types(x.dtype, out_dtype))
    kernels = kernels.astype(x.dtype)
    if tap_scale is not None:
        return _sum_over_taps(spec, x, kernels, weights.astype(acc), tap_scale.astype(acc)).astype(out_dtype)
    convs = (spec.static_conv(scale_samples(x, weights[:, k]), kernels[k]) for k in range(len(kernels)))
    return sum_arrays(y.astype(acc) for y in convs).astype(out_dtype)


def _sum_over_taps(spec, x, kernels, weights, tap_scale):
    """y = sum_t [a_1 s_t x_t .. a_K s_t x_t] [W_1t; ..; W_Kt]: one matrix product per tap."""
    acc, b, g = weights.dtype, x.shape[0], spec.groups
    k, c, o = len(kernels), spec.in_features, spec.out_features
    padded = spec.pad(x)
    bank = kernels.reshape(k, spec.num_taps, c // g, g, o // g)

    def one_tap(i, tap):
        scale = (weights * tap_scale.reshape(b, spec.num_taps)[:, i, None]).reshape(b, 1, k, 1, 1)
        columns = spec.tap_slice(padded, tap).astype(acc).reshape(b, spec.num_positions, 1, g, c // g)
        return contract('bpkgi,kigo->bpgo', (columns * scale).astype(x.dtype), bank[:, i], acc, spec.precision)

    y = sum_arrays(one_tap(i, tap) for i, tap in enumerate(spec.taps()))
    return jnp.reshape(y, (b, *spec.out_spatial, o))
