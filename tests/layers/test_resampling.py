"""Adaptive pooling and bilinear resizing against loops over their definitions, in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flax_dynconv.layers import adaptive_average_pool, resize_bilinear
from tests.jaxprs import equations
from tests.tolerances import assert_close

SHAPE = (2, 5, 7, 3)
X = np.random.default_rng(0).standard_normal(SHAPE)
FUNCTIONS = {
    'pool': adaptive_average_pool,
    'areas': resize_bilinear,
    'corners': lambda x, size: resize_bilinear(x, size, align_corners=True),
}
SIZES = [(1, 1), (2, 3), (5, 7), (9, 4), (12, 20)]


def pooled(x, size):
    """The mean of each bin, in a loop."""
    y = np.zeros((x.shape[0], *size, x.shape[-1]))
    for i in range(size[0]):
        for j in range(size[1]):
            rows, columns = (
                slice(math.floor(k * n / m), math.ceil((k + 1) * n / m))
                for k, n, m in ((i, x.shape[1], size[0]), (j, x.shape[2], size[1]))
            )
            y[:, i, j] = x[:, rows, columns].mean((1, 2))
    return y


def resized(x, size, corners):
    """The four nearest pixels of each point, in a loop."""
    y = np.zeros((x.shape[0], *size, x.shape[-1]))

    def near(i, n, m):
        if corners:
            point = i * (n - 1) / (m - 1) if m > 1 else 0.0
        else:
            point = max((i + 0.5) * n / m - 0.5, 0.0)
        low = min(int(point), n - 1)
        return low, min(low + 1, n - 1), point - low

    for i in range(size[0]):
        top, bottom, down = near(i, x.shape[1], size[0])
        for j in range(size[1]):
            left, right, across = near(j, x.shape[2], size[1])
            above = (1 - across) * x[:, top, left] + across * x[:, top, right]
            below = (1 - across) * x[:, bottom, left] + across * x[:, bottom, right]
            y[:, i, j] = (1 - down) * above + down * below
    return y


LOOPS = {
    'pool': pooled,
    'areas': lambda x, size: resized(x, size, False),
    'corners': lambda x, size: resized(x, size, True),
}


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('name', FUNCTIONS)
def test_definition(name, size):
    expected = LOOPS[name](X, size)
    with jax.enable_x64(True):
        y = FUNCTIONS[name](X, size)
        assert_close(y, expected)
        assert y.dtype == jnp.float64
    y = FUNCTIONS[name](X.astype(np.float32), size)
    assert y.dtype == jnp.float32
    assert_close(y, expected)
    # A half type is widened before anything is added up: what differs is the rounding of x alone.
    half = jnp.asarray(X, jnp.bfloat16)
    y = FUNCTIONS[name](half, list(size))
    assert y.dtype == jnp.float32
    assert_close(y, LOOPS[name](np.asarray(half, np.float64), size))


@pytest.mark.parametrize('name', FUNCTIONS)
def test_gradients(name):
    """The adjoint: the gradient of sum(y * g) is g pulled back through the loops, one pixel at a time."""
    size = (4, 3)
    g = np.random.default_rng(1).standard_normal((2, *size, 3))
    expected = np.zeros(SHAPE)
    for p in range(SHAPE[1]):
        for q in range(SHAPE[2]):
            pixel = np.zeros((1, *SHAPE[1:3], 1))
            pixel[0, p, q] = 1
            expected[:, p, q] = (LOOPS[name](pixel, size) * g).sum((1, 2))

    def gradient(x):
        return jax.grad(lambda x: (FUNCTIONS[name](x, size) * jnp.asarray(g, x.dtype)).sum())(x)

    assert_close(gradient(jnp.asarray(X, jnp.float32)), expected)
    with jax.enable_x64(True):
        assert_close(gradient(jnp.asarray(X)), expected)


def test_bins_by_hand():
    """Of 5 pixels in 2 bins the middle one is in both; of 2 pixels in 3 bins, one of which has them both."""
    ramp = jnp.arange(5.0).reshape(1, 5, 1, 1)
    np.testing.assert_allclose(adaptive_average_pool(ramp, (2, 1)).ravel(), [1, 3])
    np.testing.assert_allclose(adaptive_average_pool(ramp[:, :2], (3, 1)).ravel(), [0, 0.5, 1])
    np.testing.assert_allclose(adaptive_average_pool(ramp[:, :4], (7, 1)).ravel(), [0, 0.5, 1, 1.5, 2, 2.5, 3])


def test_one_number_is_both_sizes_and_the_own_size_changes_nothing():
    x = jnp.asarray(X, jnp.float32)
    for function in FUNCTIONS.values():
        assert function(x, 3).shape == (2, 3, 3, 3)
        np.testing.assert_array_equal(function(x, (5, 7)), x)


def test_products_are_float32_at_full_precision():
    for function in FUNCTIONS.values():
        jaxpr = jax.make_jaxpr(lambda x, f=function: f(x, 4))(jnp.ones(SHAPE, jnp.bfloat16)).jaxpr
        products = [e for e in equations(jaxpr) if e.primitive.name == 'dot_general']
        assert len(products) == 2
        for product in products:
            assert set(product.params['precision']) == {jax.lax.Precision.HIGHEST}
            assert {v.aval.dtype for v in product.invars} == {jnp.dtype('float32')}
        assert not any('gather' in e.primitive.name for e in equations(jaxpr))


@pytest.mark.parametrize('name', FUNCTIONS)
def test_symbolic_batch(name):
    (b,) = export.symbolic_shape('b')
    function = jax.jit(lambda x: FUNCTIONS[name](x, (3, 9)))
    exported = export.export(function)(jax.ShapeDtypeStruct((b, *SHAPE[1:]), jnp.float32))
    assert_close(exported.call(X.astype(np.float32)), LOOPS[name](X, (3, 9)))


def test_mistakes_are_named():
    for function in (adaptive_average_pool, resize_bilinear):
        with pytest.raises(ValueError, match=r'x: expected \(batch, height, width, channels\), got shape \(5, 7, 3\)'):
            function(jnp.ones((5, 7, 3)), 2)
        for size in (0, (2, -1), (2,), 2.0, True):
            with pytest.raises(ValueError, match=r'size: expected an int >= 1 or two of them, got'):
                function(jnp.ones(SHAPE), size)
        with pytest.raises(ValueError, match=r'x: expected a height and a width known .* got shape \(2, 0, 7, 3\)'):
            function(jnp.ones((2, 0, 7, 3)), 2)
        h, w = export.symbolic_shape('h, w')
        with pytest.raises(ValueError, match=r'x: expected a height and a width known at tracing'):
            export.export(jax.jit(lambda x, f=function: f(x, 2)))(jax.ShapeDtypeStruct((2, h, w, 3), jnp.float32))
