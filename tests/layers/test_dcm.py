"""DMNet's module against a loop over its definition, its initialisation, dtypes, forms and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

from flax_dynconv.layers import DCM, BatchNorm, ConvNormAct, NoNorm
from flax_dynconv.models import count
from tests.jaxprs import equations
from tests.layers.common import draw, init
from tests.layers.test_resampling import pooled
from tests.tolerances import assert_close, distance

SHAPE = (2, 5, 6, 4)
X = draw('x', SHAPE)


def flat(tree):
    return {k: np.asarray(v, np.float64) for k, v in tree.items()}


def defined(variables, x, k, fusion):
    """The module in evaluation mode, tap by tap, in float64."""
    params, stats = variables['params'], variables['batch_stats']
    x = np.asarray(x, np.float64)

    def norm(y, params, stats):
        p, s = flat(params), flat(stats)
        return np.maximum((y - s['mean']) / np.sqrt(s['var'] + 1e-5) * p['scale'] + p['bias'], 0)

    def pointwise(y, name):
        kernel = np.asarray(params[name]['conv']['kernel'], np.float64)[0, 0]
        return norm(y @ kernel, params[name]['bn'], stats[name]['bn'])

    generator = flat(params['filter_gen_conv'])
    filters = pooled(x, (k, k)) @ generator['kernel'][0, 0] + generator['bias']
    reduced = pointwise(x, 'input_redu_conv')
    y = np.zeros_like(reduced)
    height, width = x.shape[1:3]
    # For an even k the taps reach one pixel further up and left than down and right.
    for i in range(height):
        for j in range(width):
            for p in range(k):
                for q in range(k):
                    row, column = i + p - k // 2, j + q - k // 2
                    if 0 <= row < height and 0 <= column < width:
                        y[:, i, j] += filters[:, p, q] * reduced[:, row, column]
    y = norm(y, params['norm'], stats['norm'])
    return pointwise(y, 'fusion_conv') if fusion else y


@pytest.mark.parametrize(('k', 'fusion'), [(1, False), (2, False), (3, True), (4, False), (7, False)])
def test_definition(k, fusion):
    layer = DCM(3, k, fusion)
    variables = init(layer, X)
    assert_close(jax.jit(layer.apply)(variables, X), defined(variables, X, k, fusion))


@pytest.mark.parametrize('k', [2, 3])
def test_gradients_against_float64(k):
    """Training mode, by central differences of float64 in a direction through input and parameters."""
    layer = DCM(3, k, fusion=True, act=nn.softplus)
    variables = init(layer, X)
    rest = {'batch_stats': variables['batch_stats']}
    weight = draw('weight', (*SHAPE[:3], 3))

    def loss(params, x):
        y, _ = layer.apply({'params': params, **rest}, x, mutable=['batch_stats'])
        return (y * weight.astype(y.dtype)).sum()

    at = (variables['params'], X)
    found = jax.jit(jax.grad(loss, (0, 1)))(*at)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), at)
        exact = jax.jit(jax.grad(loss, (0, 1)))(*wide)
        direction = jax.tree.map(lambda a: draw(f'direction{a.shape}', a.shape, jnp.float64), wide)
        step = jax.jit(lambda t: loss(*jax.tree.map(lambda a, d: a + t * d, wide, direction)))
        slope = (step(1e-5) - step(-1e-5)) / 2e-5
        along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(exact), jax.tree.leaves(direction), strict=True))
        assert slope == pytest.approx(float(along), rel=1e-6)
        assert all(np.abs(g).max() > 1e-8 for g in jax.tree.leaves(exact))
    found, exact = jax.device_get((found, exact))
    scale = max(np.abs(g).max() for g in jax.tree.leaves(exact))
    jax.tree.map(lambda a, b: assert_close(a / scale, b / scale, 'float32'), found, exact)


def test_the_filter_of_one_tap_is_a_scale_of_each_channel():
    layer = DCM(3, 1, norm=NoNorm, act=lambda y: y)
    variables = init(layer, X)
    params = variables['params']
    scale = X.mean((1, 2)) @ params['filter_gen_conv']['kernel'][0, 0] + params['filter_gen_conv']['bias'][None]
    reduced = X @ params['input_redu_conv']['conv']['kernel'][0, 0]
    assert_close(layer.apply(variables, X), scale[:, None, None] * reduced)


def test_published_size():
    shapes = jax.eval_shape(DCM(512, 7).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 2048), jnp.float32))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == 2_099_712


def test_initialisation():
    layer = DCM(512, 1)
    shape = jnp.zeros((1, 1, 1, 256))
    params = jax.jit(layer.init)(jax.random.key(0), shape)['params']
    for leaf in jax.tree.leaves(params['filter_gen_conv']):
        leaf = np.asarray(leaf)
        assert np.abs(leaf).max() <= 1 / 16 and np.abs(leaf).max() > 0.98 / 16
        assert leaf.std() == pytest.approx(1 / 16 / np.sqrt(3), rel=0.05)  # uniform
        assert np.abs(leaf.mean()) < 0.01
    kernel = np.asarray(params['input_redu_conv']['conv']['kernel'])
    assert kernel.std() == pytest.approx(np.sqrt(2 / 512), rel=0.01)
    assert np.abs(kernel).max() > 4 * kernel.std()  # normal


def test_filters_are_made_in_float32():
    """Of bfloat16 inputs: pooling and the generator at full precision, the result in the computation dtype."""
    layer = DCM(3, 3, dtype=jnp.bfloat16)
    variables = init(layer, X)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    y = layer.apply(variables, X)
    assert y.dtype == jnp.bfloat16
    assert_close(y, defined(variables, X, 3, False))
    jaxpr = jax.make_jaxpr(layer.apply)(variables, X).jaxpr
    products = [e for e in equations(jaxpr) if e.primitive.name == 'dot_general']
    generators = [
        e
        for e in equations(jaxpr)
        if e.primitive.name == 'conv_general_dilated' and e.invars[0].aval.shape == (2, 3, 3, 4)
    ]
    assert len(products) >= 2 and len(generators) == 1
    for equation in (*products[:2], *generators):
        assert set(equation.params['precision']) == {jax.lax.Precision.HIGHEST}
        assert {v.aval.dtype for v in equation.invars} == {jnp.dtype('float32')}


def test_the_sum_over_taps_reaches_the_norm_in_float32():
    seen = {}

    class Seen(nn.Module):
        @nn.compact
        def __call__(self, x):
            seen['/'.join(self.path)] = x.dtype
            return x

    layer = DCM(3, 3, dtype=jnp.bfloat16, norm=lambda name: Seen(name=name))
    variables = init(layer, X)
    for form in (None, 'reference', 'taps', 'patches'):
        seen.clear()
        y = jax.eval_shape(layer.clone(implementation=form).apply, variables, X)
        assert seen == {'norm': jnp.float32, 'input_redu_conv/bn': jnp.bfloat16}
        assert y.dtype == jnp.bfloat16
    # Nothing rounds between the sum and the norm, which sees the sum itself.
    jaxpr = jax.make_jaxpr(layer.clone(implementation='reference').apply)(variables, X).jaxpr
    sums = [e for e in equations(jaxpr) if e.primitive.name == 'conv_general_dilated'][-1:]
    assert [v.aval.dtype for e in sums for v in e.outvars] == [jnp.float32]


def test_vmap():
    layer = DCM(3, 3)
    variables = init(layer, X)
    x = draw('pairs', (3, *SHAPE))
    mapped = jax.jit(jax.vmap(layer.apply, in_axes=(None, 0)))(variables, x)
    assert_close(mapped, np.stack([layer.apply(variables, one) for one in x]))
    members = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), variables)
    mapped = jax.jit(jax.vmap(layer.apply, in_axes=(0, None)))(members, X)
    each = [layer.apply(jax.tree.map(lambda a, i=i: a[i], members), X) for i in range(2)]
    assert_close(mapped, np.stack(each))


def test_forms_agree():
    variables = init(DCM(3, 3), X)
    expected = DCM(3, 3).apply(variables, X)
    for form in ('reference', 'taps', 'patches'):
        assert_close(DCM(3, 3, implementation=form).apply(variables, X), expected)
    with pytest.raises(ValueError, match=r"got 'shifts'"):
        DCM(3, 3, implementation='shifts').apply(variables, X)


def test_norms_follow_the_collections_or_the_field():
    layer = DCM(3, 3)
    variables = init(layer, X)
    _, updated = layer.apply(variables, X, mutable=['batch_stats'])
    changed = jax.tree.map(lambda a, b: bool((a != b).all()), updated['batch_stats'], variables['batch_stats'])
    assert all(jax.tree.leaves(changed))
    frozen = layer.clone(norm=functools.partial(BatchNorm, use_running_average=True, epsilon=1e-5))
    y, kept = frozen.apply(variables, X, mutable=['batch_stats'])
    assert_close(y, layer.apply(variables, X))
    jax.tree.map(np.testing.assert_array_equal, kept['batch_stats'], variables['batch_stats'])


def test_exported_for_any_batch():
    layer = DCM(3, 2)
    variables = init(layer, X)
    (b,) = export.symbolic_shape('b')
    exported = export.export(jax.jit(layer.apply))(variables, jax.ShapeDtypeStruct((b, *SHAPE[1:]), jnp.float32))
    for size in (1, 3):
        x = draw('batch', (size, *SHAPE[1:]))
        assert_close(exported.call(variables, x), layer.apply(variables, x))


def test_samples_do_not_mix_in_evaluation():
    layer = DCM(3, 3)
    variables = init(layer, X)
    other = X.at[1].multiply(-3.0)
    y, z = layer.apply(variables, X), layer.apply(variables, other)
    np.testing.assert_array_equal(y[0], z[0])
    assert distance(y[1], z[1]) > 0.1


def test_cost():
    """Reduction, generator and filtering, by hand."""
    report = count(DCM(3, 2), jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    assert report.multiply_adds == 5 * 6 * 4 * 3 + 2 * 2 * 4 * 3 + 5 * 6 * 2 * 2 * 3
    assert report.parameters == 4 * 3 + (4 * 3 + 3) + 4 * 3


def test_mistakes_are_named():
    def run(layer, x=X):
        jax.eval_shape(layer.init, jax.random.key(0), x)

    with pytest.raises(ValueError, match=r'x: expected \(batch, height, width, channels\), got shape \(5, 6, 4\)'):
        run(DCM(3, 3), X[0])
    with pytest.raises(ValueError, match=r'filter_size: expected an int >= 1, got 0'):
        run(DCM(3, 0))
    with pytest.raises(ValueError, match=r'filter_size: expected an int >= 1, got \(3, 3\)'):
        run(DCM(3, (3, 3)))
    with pytest.raises(ValueError, match=r'features: expected an int >= 1, got True'):
        run(DCM(True, 3))
    with pytest.raises(
        ValueError, match=r'kernel_size: expected odd sizes, which keep the size of the map, got \(2, 3'
    ):
        run(ConvNormAct(3, (2, 3)))
