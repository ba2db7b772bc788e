"""The gradient of `instance_head`: its operands are saved, activations are computed again, block by block."""

import functools

import jax

from flax_dynconv.ops._dispatch import by_platform
from flax_dynconv.ops.instance_head import products


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def head(forms, spec, operands):
    """form.apply(spec, operands) for the platform's form: forms is ((platform, form), ..)."""
    return by_platform({platform: functools.partial(form.apply, spec) for platform, form in forms}, operands)


def _forward(forms, spec, operands):
    return head(forms, spec, operands), operands


def _backward(forms, spec, operands, g):
    # Whatever the form: sums over pixels and over instances are matrix products. Differentiable again.
    return (products.pull_back(spec, operands, g),)


head.defvjp(_forward, _backward)
