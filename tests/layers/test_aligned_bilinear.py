"""CondInst's enlarging against the reference's procedure in numpy, and against its stored numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flax_dynconv.layers import aligned_bilinear, resize_bilinear
from tests.golden.loader import Golden
from tests.jaxprs import equations
from tests.models.tiny import quick
from tests.tolerances import assert_close

FACTORS = (2, 3, 4, 8)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 5, 7, 3))


def procedure(x, factor, axes):
    """Repeat the last element, resize to factor * n + 1 with aligned corners, repeat the first, crop; axis by axis."""
    for axis in axes:
        x = np.moveaxis(np.asarray(x, np.float64), axis, 0)
        n = len(x)
        padded = np.concatenate([x, x[-1:]])
        points = np.linspace(0, n, factor * n + 1)
        resized = []
        for point in points:
            low = min(int(np.floor(point + 1e-9)), n - 1)
            share = point - low
            resized.append((1 - share) * padded[low] + share * padded[low + 1])
        front = [resized[0]] * (factor // 2)
        x = np.moveaxis(np.stack((front + resized)[: factor * n]), 0, axis)
    return x


@pytest.mark.parametrize('axes', [(1, 2), (2, 3), (-1,), (0, -2)], ids=str)
@pytest.mark.parametrize('factor', FACTORS)
def test_definition(factor, axes):
    """Odd sizes, any axes, in float64 and float32; half types and integers are widened before anything is added up."""
    expected = procedure(X, factor, axes)
    enlarge = quick(functools.partial(aligned_bilinear, factor=factor, axes=axes))
    with jax.enable_x64(True):
        y = enlarge(X)
        assert y.dtype == jnp.float64
        assert_close(y, expected)
    for x in (X.astype(np.float32), jnp.asarray(X, jnp.bfloat16), np.round(10 * X).astype(np.int32)):
        y = enlarge(x)
        assert y.dtype == jnp.float32
        assert_close(y, procedure(np.asarray(x, np.float64), factor, axes))


def test_the_default_axes_are_those_of_a_map():
    x = X.astype(np.float32)
    np.testing.assert_array_equal(aligned_bilinear(x, 2), aligned_bilinear(x, 2, (2, 1)))


@pytest.mark.parametrize('factor', FACTORS)
def test_stored_numbers(factor):
    golden = Golden('aligned_bilinear')
    x = np.moveaxis(golden.inputs['x'], 1, -1)
    for dtype in ('float32', 'float64'):
        with jax.enable_x64(dtype == 'float64'):
            maps = np.moveaxis(np.asarray(quick(lambda x: aligned_bilinear(x, factor))(x.astype(dtype))), -1, 1)
            planes = np.asarray(quick(lambda x: aligned_bilinear(x, factor, (2, 3)))(golden.inputs['x'].astype(dtype)))
        # In float64 both forms, sums of slices alone and with a product, follow the same numbers to the last digits.
        bound = golden.bound('eval', f'out.f{factor}') if dtype == 'float32' else 1e-12
        for y in (maps, planes):
            assert np.abs(y - golden.arrays[f'out.f{factor}']).max() <= bound


def test_stored_gradient():
    """Of the sum over all factors."""
    golden = Golden('aligned_bilinear')

    def total(x):
        ys = [aligned_bilinear(x, factor, (2, 3)) for factor in FACTORS]
        return sum((y * g.astype(y.dtype)).sum() for y, g in zip(ys, golden.cotangents, strict=True))

    expected = golden.gradients('eval')['x']
    found = quick(jax.grad(total))(jnp.asarray(golden.inputs['x']))
    assert np.abs(found - expected).max() <= golden.bound('eval', 'grad.x')
    with jax.enable_x64(True):
        found = np.asarray(quick(jax.grad(total))(jnp.asarray(golden.inputs['x'], jnp.float64)))
        assert np.abs(found - expected).max() <= 1e-12


@pytest.mark.parametrize('axes', [(1, 2), (2, 3)], ids=str)
@pytest.mark.parametrize('factor', (2, 3))
def test_gradient_is_the_adjoint(factor, axes):
    """The gradient of sum(y * g) is g pulled back through the procedure, one element at a time; batch rows alike."""
    g = np.random.default_rng(1).standard_normal(procedure(X, factor, axes).shape)
    expected = np.zeros(X.shape)
    for index in np.ndindex(X.shape[1:]):
        one = np.zeros((1, *X.shape[1:]))
        one[0, *index] = 1
        expected[:, *index] = (procedure(one, factor, axes) * g).sum((1, 2, 3))

    def gradient(x):
        return quick(jax.grad(lambda x: (aligned_bilinear(x, factor, axes) * jnp.asarray(g, x.dtype)).sum()))(x)

    assert_close(gradient(jnp.asarray(X, jnp.float32)), expected)
    with jax.enable_x64(True):
        assert_close(gradient(jnp.asarray(X)), expected)


def test_it_is_not_resizing_by_areas():
    """By half an output element for an even factor; inside, the two are the same for an odd one."""
    ramp = jnp.arange(8.0).reshape(1, 8, 1, 1)
    for factor, shift in ((2, 0.25), (3, 0.0), (4, 0.125), (8, 0.0625)):
        size = (8 * factor, 1)
        apart = resize_bilinear(ramp, size) - aligned_bilinear(ramp, factor, (1,))
        np.testing.assert_allclose(apart[0, factor:-factor, 0, 0], shift, atol=1e-5)


def test_by_hand():
    x = jnp.array([[1.0, 3.0]])
    np.testing.assert_allclose(aligned_bilinear(x, 2, (1,)), [[1, 1, 2, 3]])
    np.testing.assert_allclose(aligned_bilinear(x, 3, (1,)), [[1, 1, 5 / 3, 7 / 3, 3, 3]], rtol=1e-6)
    np.testing.assert_array_equal(aligned_bilinear(x, 1, (1,)), x)
    # One element has no neighbour.
    np.testing.assert_array_equal(aligned_bilinear(x[:, :1], 4, (0, 1)), jnp.ones((4, 4)))


def test_no_gather_and_products_at_full_precision():
    jaxpr = jax.make_jaxpr(functools.partial(aligned_bilinear, factor=2, axes=(2, 3)))(jnp.ones(X.shape, jnp.bfloat16))
    kinds = [equation.primitive.name for equation in equations(jaxpr.jaxpr)]
    assert kinds.count('dot_general') == 1 and not any('gather' in kind for kind in kinds)
    product = next(e for e in equations(jaxpr.jaxpr) if e.primitive.name == 'dot_general')
    assert set(product.params['precision']) == {jax.lax.Precision.HIGHEST}


@pytest.mark.parametrize('axes', [(1, 2), (2, 3)], ids=str)
def test_symbolic_batch(axes):
    (b,) = export.symbolic_shape('b')
    function = jax.jit(functools.partial(aligned_bilinear, factor=4, axes=axes))
    exported = export.export(function)(jax.ShapeDtypeStruct((b, *X.shape[1:]), jnp.float32))
    assert_close(exported.call(X.astype(np.float32)), procedure(X, 4, axes))


def test_mistakes_are_named():
    for factor in (0, -2, 1.5, True):
        with pytest.raises(ValueError, match=r'factor: expected an int >= 1, got'):
            aligned_bilinear(X, factor)
    for axes in ((4,), (1, 1), (3, -1), (1.0,), 1):
        with pytest.raises(ValueError, match=r'axes: expected different axes of x with shape \(2, 5, 7, 3\), got'):
            aligned_bilinear(X, 2, axes)
    with pytest.raises(ValueError, match=r'x: expected axis 2 to be known at tracing and not empty, .* \(2, 5, 0, 3\)'):
        aligned_bilinear(X[:, :, :0], 2)
    (h,) = export.symbolic_shape('h')
    with pytest.raises(ValueError, match=r'x: expected axis 1 to be known at tracing'):
        export.export(jax.jit(lambda x: aligned_bilinear(x, 2)))(jax.ShapeDtypeStruct((2, h, 7, 3), jnp.float32))
