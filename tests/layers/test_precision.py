"""Routing and mixing never below float32: on accelerators a default float32 product is rounded to bfloat16 or TF32."""

import functools

import jax
import jax.numpy as jnp
import pytest

from flax_dynconv.layers import CondConv, DynamicConv, DyNetConv, ODConv
from tests.jaxprs import equations


def products(jaxpr):
    """The precision and operand dtypes of every matrix product in a jaxpr, inner ones too."""
    for equation in equations(jaxpr):
        if equation.primitive.name == 'dot_general':
            yield equation.params['precision'], {v.aval.dtype for v in equation.invars}


# The form is a feature form, so that every product in the program is one of routing or of mixing biases.
CASES = {
    'CondConv': functools.partial(CondConv, implementation='features_in'),
    'DynamicConv': functools.partial(DynamicConv, implementation='features_in'),
    'DyNetConv': functools.partial(DyNetConv, implementation='features_out'),
    'ODConv': functools.partial(ODConv, num_kernels=1),
}


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize('name', CASES)
def test_routing_products_are_float32_at_full_precision(name, dtype):
    size = (1, 1) if name == 'ODConv' else (3, 3)
    layer, x = CASES[name](8, size, dtype=dtype), jnp.ones((2, 4, 4, 4))
    variables = layer.init(jax.random.key(0), x)
    found = list(products(jax.make_jaxpr(layer.apply)(variables, x).jaxpr))
    assert found
    for precision, dtypes in found:
        assert precision is not None and set(precision) == {jax.lax.Precision.HIGHEST}
        assert dtypes == {jnp.dtype(jnp.float32)}
