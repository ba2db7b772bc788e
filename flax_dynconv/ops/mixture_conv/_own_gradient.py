"""The gradient of `mixture_conv` at batch level: its operands are saved, mixed kernels are not."""

import functools

import jax
from jax import lax

from flax_dynconv.ops._dispatch import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def mixture(forms, spec, out_dtype, operands):
    """The form for the platform at lowering; operands = (x, bank, weights, taps).

    forms: ((platform, form), ..) of the forward pass, and of the backward pass.
    """
    return by_platform({p: functools.partial(_apply, form, spec, out_dtype) for p, form in forms[0]}, operands)


def _apply(form, spec, out_dtype, operands):
    return form.apply(spec, out_dtype, *operands)


def _pull_back(form, spec, out_dtype, operands, g):
    """The form's own gradient, recomputed from the operands; differentiable again."""
    return jax.vjp(functools.partial(_apply, form, spec, out_dtype), operands)[1](g)[0]


def _forward(forms, spec, out_dtype, operands):
    return mixture(forms, spec, out_dtype, operands), operands


def _backward(forms, spec, out_dtype, operands, g):
    # Tied to the cotangent: otherwise the compiler would find the kernels already mixed in the forward pass, and keep
    # those of all layers until here.
    operands, g = lax.optimization_barrier((operands, g))
    branches = {p: functools.partial(_pull_back, form, spec, out_dtype) for p, form in forms[1]}
    return (by_platform(branches, operands, g),)


mixture.defvjp(_forward, _backward)
