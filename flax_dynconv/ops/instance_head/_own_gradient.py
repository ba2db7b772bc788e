"""The gradient of `instance_head`: its operands are saved, activations are computed again, block by block."""

import functools

import jax

from flax_dynconv.ops.instance_head import products


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def head(form, spec, operands):
    """form.apply(spec, operands)."""
    return form.apply(spec, operands)


def _forward(form, spec, operands):
    return form.apply(spec, operands), operands


def _backward(form, spec, operands, g):
    # Whatever the form: sums over pixels and over instances are matrix products. Differentiable again.
    return (products.pull_back(spec, operands, g),)


head.defvjp(_forward, _backward)
