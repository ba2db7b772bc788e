"""Depthwise: shifted slices times per-channel factors, added up; a fused multiply-add with no copy of the input."""

import jax.numpy as jnp
from jax import lax

from flax_dynconv.ops.per_sample_conv import _taps_cpu
from flax_dynconv.ops.per_sample_conv.patches import contract_dtype, sum_arrays


def declines(spec, batch):
    """Only depthwise convolutions, with any channel multiplier."""
    if spec.depthwise:
        return None
    return f'taps needs a depthwise convolution, feature_group_count = Cin = {spec.in_features}, got {spec.groups}'


def _factors(spec, w, dtype):
    """One (B, 1.., Cout) factor per tap."""
    w = w.astype(dtype).reshape(w.shape[0], spec.num_taps, spec.out_features)
    shape = (w.shape[0], *(1,) * spec.ndim, spec.out_features)
    return [w[:, i].reshape(shape) for i in range(spec.num_taps)]


def repeat(spec, x):
    """Output channel o reads input channel o // multiplier."""
    return x if spec.out_features == spec.in_features else jnp.repeat(x, spec.out_features // spec.in_features, axis=-1)


def fold(spec, y):
    """The adjoint of `repeat`."""
    if spec.out_features == spec.in_features:
        return y
    return y.reshape(*y.shape[:-1], spec.in_features, spec.out_features // spec.in_features).sum(-1)


def apply(spec, out_dtype, x, w):
    """y = sum_t shift_t(x) w_t."""

    def on_cpu(x, w):
        return _taps_cpu.correlate(spec, out_dtype, repeat(spec, x), w)

    def elsewhere(x, w):
        acc = contract_dtype(x, w)
        padded = spec.pad(x)
        pairs = zip(spec.taps(), _factors(spec, w, acc), strict=True)
        return sum_arrays(repeat(spec, spec.tap_slice(padded, t).astype(acc)) * f for t, f in pairs).astype(out_dtype)

    return lax.platform_dependent(x, w, cpu=on_cpu, default=elsewhere)


def adjoint_x(spec, out_dtype, y, w):
    """x = sum_t unshift_t(y w_t)."""
    acc = contract_dtype(y, w)

    def on_cpu(y, w):
        return fold(spec, _taps_cpu.correlate_back(spec, acc, y, w)).astype(out_dtype)

    def elsewhere(y, w):
        y = y.astype(acc)
        pairs = zip(spec.taps(), _factors(spec, w, acc), strict=True)
        return spec.undilate(sum_arrays(spec.tap_unslice(fold(spec, y * f), t) for t, f in pairs)).astype(out_dtype)

    return lax.platform_dependent(y, w, cpu=on_cpu, default=elsewhere)


def adjoint_w(spec, out_dtype, x, y):
    """w_t = sum over positions of shift_t(x) y."""

    def on_cpu(x, y):
        return _taps_cpu.kernel_gradient(spec, out_dtype, repeat(spec, x), y)

    def elsewhere(x, y):
        acc = contract_dtype(x, y)
        padded, y = spec.pad(x), y.astype(acc)
        positions = tuple(range(1, 1 + spec.ndim))
        w = [(repeat(spec, spec.tap_slice(padded, t).astype(acc)) * y).sum(positions) for t in spec.taps()]
        return jnp.stack(w, axis=1).reshape(x.shape[0], *spec.kernel_shape).astype(out_dtype)

    return lax.platform_dependent(x, y, cpu=on_cpu, default=elsewhere)
