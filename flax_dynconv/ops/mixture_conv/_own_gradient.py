"""The gradient of `mixture_conv` at batch level: its operands are saved, mixed kernels are not."""

import functools

import jax

from flax_dynconv.ops._dispatch import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def mixture(forms, spec, out_dtype, operands):
    """forms[0].apply, or forms[1].apply where the program is lowered for a TPU; operands = (x, bank, weights, taps)."""
    default, tpu = (functools.partial(_apply, form, spec, out_dtype) for form in forms)
    return by_platform(default, default if forms[0] == forms[1] else tpu, operands)


def _apply(form, spec, out_dtype, operands):
    return form.apply(spec, out_dtype, *operands)


def _pull_back(form, spec, out_dtype, operands, g):
    """The form's own gradient, recomputed from the operands; differentiable again."""
    return jax.vjp(functools.partial(_apply, form, spec, out_dtype), operands)[1](g)[0]


def _forward(forms, spec, out_dtype, operands):
    return mixture(forms, spec, out_dtype, operands), operands


def _backward(forms, spec, out_dtype, operands, g):
    default, tpu = (functools.partial(_pull_back, form, spec, out_dtype) for form in forms)
    return (by_platform(default, default if forms[0] == forms[1] else tpu, operands, g),)


mixture.defvjp(_forward, _backward)
