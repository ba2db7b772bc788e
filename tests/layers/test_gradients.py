"""Gradients of every layer: all parameters have one, float32 agrees with float64, float64 with finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from tests.catalog import CATALOG, make
from tests.layers.common import draw, init, inputs
from tests.tolerances import BOUND, assert_close
from tests.x64 import x64

every_layer = pytest.mark.parametrize('name', CATALOG)


def loss(layer, differentiated, constants, x):
    """A generic function of the output, in training where there are batch statistics."""
    y = layer.apply(constants | {'params': differentiated}, x, mutable=['batch_stats'])[0]
    return jnp.sum(y * draw('cotangent', y.shape, y.dtype))


@functools.cache
def gradients(name, dtype):
    """(gradients with respect to parameters and input, the loss as a function of both, parameters, input)."""
    layer = make(name)
    with x64():
        cast = functools.partial(jax.tree.map, lambda a: jnp.asarray(a, dtype))
        variables, x = cast(init(layer)), cast(inputs())
        params = variables.pop('params')
        f = jax.jit(lambda params, x: loss(layer, params, variables, x))
        return jax.jit(jax.grad(f, argnums=(0, 1)))(params, x), f, params, x


@every_layer
def test_every_parameter_gets_a_gradient(name):
    (in_params, in_x), *_ = gradients(name, 'float32')
    assert np.abs(in_x).reshape(len(in_x), -1).max(axis=1).min() > 1e-6
    for path, g in traverse_util.flatten_dict(in_params).items():
        assert np.isfinite(g).all(), path
        # Each kernel of the bank by itself: a mixture that ignores one of them would pass otherwise.
        rows = g.reshape(len(g), -1) if path[-1] == 'kernel' and g.ndim > 2 else g.reshape(1, -1)
        assert (np.abs(rows).max(axis=1) > 1e-6).all(), path


@every_layer
def test_float32_agrees_with_float64(name):
    single, double = (gradients(name, dtype)[0] for dtype in ('float32', 'float64'))
    for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert a.dtype == jnp.float32 and b.dtype == jnp.float64
        assert_close(a, b, bound=BOUND['float32'])


@every_layer
def test_float64_agrees_with_finite_differences(name):
    gradient, f, params, x = gradients(name, 'float64')
    step = 1e-5
    with x64():
        for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path((params, x))):
            # One random direction per leaf: a wrong leaf cannot hide behind a large one.
            direction = draw(f'direction {i}', leaf.shape, jnp.float64)

            def along(t, path=path, direction=direction):
                moved = jax.tree_util.tree_map_with_path(
                    lambda p, a: a + t * direction if p == path else a, (params, x)
                )
                return float(f(*moved))

            numeric = (along(step) - along(-step)) / (2 * step)
            exact = float(jnp.vdot(jax.tree_util.tree_leaves(gradient)[i], direction))
            assert abs(numeric - exact) <= 1e-7 * max(1, abs(exact)), (path, numeric, exact)
