"""The steerable-filter network: size, equality with filtering by hand, the closed form it has to learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

from flax_dynconv.layers import LocalFiltering
from flax_dynconv.models import SteerableFilter, count, steered, steering_kernel
from tests.golden.loader import Golden
from tests.models.tiny import quick
from tests.tolerances import assert_close
from tests.x64 import x64

THETA = np.asarray([0.3, 2.0, 5.5])


def image(dtype=np.float32, shape=(3, 12, 11, 1)):
    return np.random.default_rng(0).uniform(size=shape).astype(dtype)


def initial(model, dtype=jnp.float32):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image(), jnp.asarray(THETA, jnp.float32))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 1 / np.sqrt(a.shape[0]), a.shape), dtype), shapes)


def test_parameters():
    report = count(SteerableFilter(), image(shape=(1, 64, 64, 1)), jnp.zeros(1))
    assert report.parameters == 18_897
    # Once per sample, not per pixel, but for the filtering.
    assert report.multiply_adds == 64 + 64 * 128 + 128 * 81 + 64 * 64 * 81
    assert count(SteerableFilter(width=0.5, filter_size=(1, 5)), image(), jnp.zeros(3)).parameters == (
        2 * 32 + 33 * 64 + 65 * 5
    )


def test_glorot_and_zero_biases():
    params = quick(SteerableFilter().init)(jax.random.key(1), image(), jnp.zeros(3))['params']
    for i, (a, b) in enumerate(((1, 64), (64, 128), (128, 81))):
        limit = np.sqrt(6 / (a + b))
        assert 0.9 * limit < np.abs(params[f'gen_{i}']['kernel']).max() <= limit
        assert not params[f'gen_{i}']['bias'].any()


def test_one_filter_for_all_positions_and_channels():
    """The map of theta that the authors' network sees, by hand: 1x1 convolutions and local filtering."""
    model = SteerableFilter(filter_size=(3, 5))
    with x64():
        variables, x = initial(model, jnp.float64), image(np.float64, (3, 8, 7, 2))
        params = variables['params']
        m = np.broadcast_to(THETA[:, None, None, None], (3, 8, 7, 1))
        for i in range(3):
            m = m @ np.asarray(params[f'gen_{i}']['kernel']) + np.asarray(params[f'gen_{i}']['bias'])
            m = np.where(m < 0, 0.01 * m, m) if i < 2 else m
        expected = quick(functools.partial(LocalFiltering((3, 5), channels='shared').apply, {}))(x, np.asarray(m))
        y, taps = quick(functools.partial(model.apply, method='filtered'))(variables, x, THETA)
        assert_close(y, expected, bound=1e-12)
        filters = quick(functools.partial(model.apply, method='filters'))(variables, THETA)
        assert filters.shape == (3, 3, 5)
        assert_close(np.reshape(filters, (3, 15)), taps, bound=1e-12)


def test_the_variant_of_the_notebook():
    model = SteerableFilter(act=nn.relu, normalise_angle=True)
    with x64():
        variables = initial(model, jnp.float64)
        h = (THETA / np.pi - 1)[:, None]
        for i in range(3):
            layer = variables['params'][f'gen_{i}']
            h = h @ np.asarray(layer['kernel']) + np.asarray(layer['bias'])[None]
            h = np.maximum(h, 0) if i < 2 else h
        assert_close(quick(functools.partial(model.apply, method='taps'))(variables, THETA), h, bound=1e-12)


def test_bfloat16_computes_the_filter_in_float32():
    model = SteerableFilter()
    variables, x, theta = initial(model), image(), jnp.asarray(THETA, jnp.float32)
    half = model.clone(dtype=jnp.bfloat16)
    (y, taps), (exact, exact_taps) = (
        quick(functools.partial(m.apply, method='filtered'))(variables, x, theta) for m in (half, model)
    )
    assert taps.dtype == jnp.float32 and y.dtype == jnp.bfloat16
    assert_close(taps, exact_taps)
    assert_close(y, exact, 'bfloat16')


def test_vmap_and_export_for_any_batch():
    model = SteerableFilter(width=0.25, filter_size=(3, 5))
    variables, x = initial(model), image(shape=(4, 8, 7, 2))
    theta = np.linspace(0, 6, 4, dtype=np.float32)
    y = quick(model.apply)(variables, x, theta)
    pairs = quick(jax.vmap(model.apply, in_axes=(None, 0, 0)))(variables, x.reshape(2, 2, 8, 7, 2), theta.reshape(2, 2))
    assert_close(pairs.reshape(y.shape), y)
    turned = quick(jax.vmap(model.apply, in_axes=(None, None, 0)))(variables, x, np.stack([theta, theta + 1]))
    assert_close(turned[0], y)
    assert np.abs(turned[1] - y).max() > 0.1
    (b,) = export.symbolic_shape('b')
    signature = jax.ShapeDtypeStruct((b, 8, 7, 2), x.dtype), jax.ShapeDtypeStruct((b,), theta.dtype)
    exported = export.export(quick(model.apply))(variables, *signature)
    for size in (1, 4):
        assert_close(quick(exported.call)(variables, x[:size], theta[:size]), y[:size])


def test_errors():
    variables = initial(SteerableFilter())
    with pytest.raises(ValueError, match=r'theta: expected shape \(B,\), got \(3, 1\)'):
        SteerableFilter().apply(variables, image(), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match=r'filters: expected shape \(B, N\) = \(3, .N.\), got \(2, 81\)'):
        SteerableFilter().apply(variables, image(), jnp.zeros(2))
    with pytest.raises(ValueError, match='filter_size: expected an odd int >= 1 or two of them, got 8'):
        SteerableFilter(filter_size=8).apply(variables, image(), THETA)
    with pytest.raises(ValueError, match='width: expected a number > 0, got 0'):
        SteerableFilter(width=0).apply(variables, image(), THETA)
    with pytest.raises(ValueError, match=r'image: expected shape \(B, H, W, 1\), got \(3, 8, 8, 3\)'):
        steered(jnp.zeros((3, 8, 8, 3)), THETA)
    with pytest.raises(ValueError, match=r'theta: expected shape \(B,\), got \(\)'):
        steering_kernel(0.3)


def true_convolution(x, kernel):
    """x (H, W) with a kernel (kh, kw), turned over as a convolution does; zeros outside, the same size."""
    kernel = kernel[::-1, ::-1]
    (kh, kw), (h, w) = kernel.shape, x.shape
    padded = np.pad(x, ((kh // 2, kh // 2), (kw // 2, kw // 2)))
    return sum(kernel[i, j] * padded[i : i + h, j : j + w] for i in range(kh) for j in range(kw))


def test_the_closed_form_is_the_separable_derivative_of_a_gaussian():
    t = np.arange(-4.0, 5.0)
    g, gp = np.exp(-(t**2) / 2), -t * np.exp(-(t**2) / 2)
    x = image(np.float64)
    with x64():
        found = np.asarray(quick(steered)(x, THETA))
        kernel = np.asarray(quick(steering_kernel)(np.asarray([0.7])))
    for b, theta in enumerate(THETA):
        along_x = true_convolution(true_convolution(x[b, :, :, 0], -gp[None]), g[:, None])
        along_y = true_convolution(true_convolution(x[b, :, :, 0], g[None]), -gp[:, None])
        label = np.cos(theta) * along_x + np.sin(theta) * along_y
        np.testing.assert_allclose(found[b, :, :, 0], label, atol=1e-12)
    assert np.abs(kernel).max() == pytest.approx(0.518, abs=5e-4)
    assert np.abs(kernel).sum() == pytest.approx(4.879, abs=5e-4)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_golden_target(dtype):
    golden = Golden('dfn_steerable_target')
    with jax.enable_x64(dtype == 'float64'), jax.default_matmul_precision('highest'):
        x = jnp.asarray(np.moveaxis(golden.inputs['image'], 1, -1), dtype)
        y = quick(steered)(x, jnp.asarray(golden.inputs['theta'], dtype))
    bound = golden.bound('eval', 'out.label') if dtype == 'float32' else 1e-9
    assert y.dtype == dtype
    assert np.abs(np.moveaxis(np.asarray(y), -1, 1) - golden.arrays['out.label']).max() <= bound
