"""Patches times mixed kernels; with a bank of one, scaled patches times the bank itself, as one static product."""

from flax_dynconv.ops.mixture_conv.mix_kernels import MixKernels
from flax_dynconv.ops.per_sample_conv import patches

_mixed = MixKernels(patches)


def declines(spec, batch, num_kernels, per_output, taps):
    """Nothing is declined."""
    return None


def apply(spec, out_dtype, x, kernels, weights, tap_scale):
    """y = patches(x) w, or (tap_scale weights patches(x)) W for one kernel without per-output weights."""
    if len(kernels) > 1 or weights.ndim == 3 or spec.groups > 1:
        return _mixed.apply(spec, out_dtype, x, kernels, weights, tap_scale)
    b, p, t, c = (columns := patches.extract(spec, x)).shape
    acc = patches.contract_dtype(x)
    scale = weights.astype(acc)
    if tap_scale is not None:
        scale = scale * tap_scale.astype(acc).reshape(b, t)
    columns = (columns.astype(acc) * scale.reshape(b, 1, scale.shape[1], 1)).astype(x.dtype)
    matrix = kernels.astype(x.dtype).reshape(t * c, spec.out_features)
    y = patches.contract('bpi,io->bpo', columns.reshape(b, p, t * c), matrix, out_dtype, spec.precision)
    return y.reshape(b, *spec.out_spatial, spec.out_features)
