"""Own gradients for forms that mix while they convolve: their operands are all that is saved.

A form brings two functions, where tap_scale is an array or None and g the cotangent of the result:

    forward(spec, out_dtype, x, kernels, weights, tap_scale) -> y
    backward(spec, x, kernels, weights, tap_scale, g) -> the cotangents of the four operands

The gradient of a gradient is that of patches times mixed kernels.
"""

import functools

import jax

from flax_dynconv.ops.mixture_conv.mix_kernels import MixKernels
from flax_dynconv.ops.per_sample_conv import patches

differentiable = MixKernels(patches)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def apply(forward, backward, spec, out_dtype, operands):
    """The result of `forward` for operands = (x, kernels, weights, tap_scale)."""
    return forward(spec, out_dtype, *operands)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradients(backward, spec, operands, g):
    return backward(spec, *operands, g)


def plain_gradients(spec, operands, g):
    """The cotangents of the operands by patches times mixed kernels, which differentiate again."""
    return jax.vjp(lambda operands: differentiable.apply(spec, g.dtype, *operands), operands)[1](g)[0]


def _apply_fwd(forward, backward, spec, out_dtype, operands):
    return apply(forward, backward, spec, out_dtype, operands), operands


def _apply_bwd(forward, backward, spec, out_dtype, operands, g):
    return (_gradients(backward, spec, operands, g),)


def _gradients_fwd(backward, spec, operands, g):
    return _gradients(backward, spec, operands, g), (operands, g)


def _gradients_bwd(backward, spec, saved, t):
    return jax.vjp(functools.partial(plain_gradients, spec), *saved)[1](t)


apply.defvjp(_apply_fwd, _apply_bwd)
_gradients.defvjp(_gradients_fwd, _gradients_bwd)
