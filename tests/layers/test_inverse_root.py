"""The factor of a batch norm: rounded once, its gradients, its extremes, and the norm that uses it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import BatchNorm
from flax_dynconv.layers._inverse_root import scaled_inverse_root
from tests.layers.common import draw, inputs
from tests.tolerances import assert_close


def numbers(n=20_000):
    rng = np.random.default_rng(0)
    scale = rng.standard_normal(n).astype(np.float32)
    var = np.exp(4 * rng.standard_normal(n)).astype(np.float32)
    return scale, var, np.full(n, 1e-3, np.float32)


def test_it_is_the_float64_result_rounded():
    scale, var, epsilon = numbers()
    exact = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + epsilon.astype(np.float64))
    for function in (scaled_inverse_root, jax.jit(scaled_inverse_root)):
        found = np.asarray(function(scale, var, epsilon))
        assert np.mean(found == exact.astype(np.float32)) > 0.999
        assert np.max(np.abs(found - exact) / np.abs(exact)) < 6.1e-8
    # What this is for: the plain formula is not.
    plain = np.asarray(jax.jit(lambda s, v, e: s * jax.lax.rsqrt(v + e))(scale, var, epsilon))
    assert np.mean(plain == exact.astype(np.float32)) < 0.9


def test_gradients_against_float64():
    scale, var, epsilon = (a[:50] for a in numbers())

    def gradient(function, dtype):
        arrays = (jnp.asarray(a, dtype) for a in (scale, var, epsilon))
        return jax.grad(lambda *a: jnp.sum(function(*a) ** 2), argnums=(0, 1, 2))(*arrays)

    with jax.enable_x64(True):
        expected = gradient(lambda s, v, e: s / jnp.sqrt(v + e), np.float64)
        exact = gradient(scaled_inverse_root, np.float64)
        for a, b in zip(exact, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(gradient(scaled_inverse_root, np.float32), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)


@pytest.mark.parametrize(('var', 'expected'), [(0.0, 1e3), (1e30, 1e-15), (np.inf, 0.0), (np.nan, np.nan)])
def test_extremes(var, expected):
    found = scaled_inverse_root(jnp.float32(1), jnp.float32(var), jnp.float32(1e-6))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    'fields',
    [
        {},
        {'use_scale': False},
        {'use_bias': False},
        {'use_scale': False, 'use_bias': False},
        {'axis': 1},
        {'axis': (-1, 1)},
        {'dtype': jnp.bfloat16},
        {'param_dtype': jnp.bfloat16},
    ],
    ids=str,
)
def test_evaluation_is_that_of_flax(fields):
    x = inputs((3, 4, 5, 6))
    ours, theirs = (kind(use_running_average=True, **fields) for kind in (BatchNorm, nn.BatchNorm))
    variables = theirs.init(jax.random.key(0), x)
    variables = jax.tree.map(lambda a: (1 + 0.3 * jnp.tanh(draw(str(a.shape), a.shape))).astype(a.dtype), variables)
    found, expected = ours.apply(variables, x), theirs.apply(variables, x)
    assert found.dtype == expected.dtype
    assert_close(found, expected, bound=2e-2 if found.dtype == jnp.bfloat16 else 2e-6)
