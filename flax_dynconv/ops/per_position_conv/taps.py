"""One multiply-add per tap over shifted slices of the input: no array has as many elements as x times the taps.

The sum over taps is elementwise in the output, which the compiler fuses into a single pass; what the backward pass
keeps is x and the kernels themselves.
"""

import jax.numpy as jnp

from flax_dynconv.ops.per_sample_conv.patches import contract, sum_arrays


def declines(spec, batch):
    """Nothing is declined."""
    return None


def _accumulator(*arrays):
    return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def _times(spec, x, kernel, acc):
    """What one tap adds to the output: (B, *out_spatial, Cin) or (B, *out_spatial, Cout)."""
    if spec.full:
        return contract('...c,...co->...o', x, kernel, acc, spec.precision)
    return spec.join_channels(spec.split_channels(x.astype(acc)) * kernel.astype(acc)[..., None])


def _times_transposed(spec, y, kernel, acc):
    """The adjoint of `_times` in x."""
    if spec.full:
        return contract('...o,...co->...c', y, kernel, acc, spec.precision)
    return _times(spec, y, kernel, acc)


def _kernel_gradient(spec, x, y, acc):
    """The adjoint of `_times` in the kernel."""
    if spec.full:
        return x.astype(acc)[..., :, None] * y.astype(acc)[..., None, :]
    return spec.split_channels(x.astype(acc) * y.astype(acc)).sum(-1)


def apply(spec, out_dtype, x, w):
    """y = sum_t shift_t(x) w_t."""
    acc, padded, flat = _accumulator(x, w), spec.pad(x), spec.flatten_taps(w)
    terms = (
        _times(spec, spec.tap_slice(padded, tap), spec.kernel_of_tap(flat, i), acc) for i, tap in enumerate(spec.taps())
    )
    return sum_arrays(terms).astype(out_dtype)


def adjoint_x(spec, out_dtype, y, w):
    """x = sum_t unshift_t(w_t y)."""
    acc, flat = _accumulator(y, w), spec.flatten_taps(w)
    terms = (
        spec.tap_unslice(_times_transposed(spec, y, spec.kernel_of_tap(flat, i), acc), tap)
        for i, tap in enumerate(spec.taps())
    )
    return spec.undilate(sum_arrays(terms)).astype(out_dtype)


def adjoint_w(spec, out_dtype, x, y):
    """w_t = shift_t(x) y, summed over the channels that share a kernel."""
    acc, padded = _accumulator(x, y), spec.pad(x)
    taps = [_kernel_gradient(spec, spec.tap_slice(padded, tap), y, acc).astype(out_dtype) for tap in spec.taps()]
    return jnp.stack(taps, axis=1 + spec.ndim).reshape(x.shape[0], *spec.kernel_shape)
