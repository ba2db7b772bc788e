"""HDFNet's modules against loops over their definitions: filtering, gradients, dtypes, forms, cost and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from jax import export

from flax_dynconv import ops
from flax_dynconv.layers import DDPM, BatchNorm, DenseLayer, DenseTransLayer, DepthDC
from flax_dynconv.models import count, dynamic_kernels
from flax_dynconv.ops import shapes
from tests.jaxprs import equations
from tests.layers.common import draw
from tests.models.tiny import quick
from tests.tolerances import assert_close, distance

SIZE = (2, 5, 6)
X, Y = draw('x', (*SIZE, 3)), draw('y', (*SIZE, 4))


def init(layer, *inputs, dtype=jnp.float32):
    """Variables away from where `init` puts them, so that no bias is 0 and no scale 1."""

    def move(path, leaf):
        array = draw('/'.join(path), leaf.shape, dtype)
        if path[-1] in ('var', 'scale'):
            return 1 + 0.3 * jnp.tanh(array)
        return array * (2 * leaf.shape[-1] / leaf.size) ** 0.5 if path[-1] == 'kernel' else 0.3 * array

    return traverse_util.path_aware_map(move, jax.eval_shape(layer.init, jax.random.key(0), *inputs))


class Definition:
    """The modules in evaluation mode, in numpy and float64, one position or one tap after the other."""

    def __init__(self, variables):
        tables = (traverse_util.flatten_dict(dict(variables[c]), sep='/') for c in ('params', 'batch_stats'))
        self.params, self.stats = ({k: np.asarray(v, np.float64) for k, v in table.items()} for table in tables)

    def conv(self, x, name):
        kernel = self.params[f'{name}/kernel']
        reach, (height, width) = len(kernel) // 2, x.shape[1:3]
        padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        y = np.zeros((*x.shape[:3], kernel.shape[-1]))
        for p, q in np.ndindex(kernel.shape[:2]):
            y += padded[:, p : p + height, q : q + width] @ kernel[p, q]
        return y + self.params.get(f'{name}/bias', 0.0)

    def block(self, x, name):
        p, s = (lambda leaf: self.params[f'{name}/bn/{leaf}']), (lambda leaf: self.stats[f'{name}/bn/{leaf}'])
        y = (self.conv(x, f'{name}/conv') - s('mean')) / np.sqrt(s('var') + 1e-5) * p('scale') + p('bias')
        return np.maximum(y, 0)

    def dense(self, x, name='', blocks=4):
        d, f = self.conv(x, f'{name}down'), []
        for i in range(blocks):
            f.append(self.block(np.concatenate([*f, d], -1), f'{name}denseblock_{i}'))
        return self.block(np.concatenate([x, f[-1]], -1), f'{name}fuse')

    def trans(self, x, depth):
        u = self.block(x + depth, 'fuse_down_mul')
        return self.block(u + self.dense(u, 'res_main/'), 'fuse_main')

    def filtered(self, x, y, dilation, name=''):
        z = self.dense(self.conv(y, f'{name}generate_kernel_0'), f'{name}generate_kernel_1/')
        taps, r = self.conv(z, f'{name}generate_kernel_2'), np.zeros_like(x)
        for b, i, j, c in np.ndindex(x.shape):
            for p, q in np.ndindex(3, 3):
                row, column = i + (p - 1) * dilation, j + (q - 1) * dilation
                if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                    r[b, i, j, c] += taps[b, i, j, c * 9 + p * 3 + q] * x[b, row, column, c]
        return self.conv(r, f'{name}fuse')

    def pyramid(self, x, y):
        x = self.conv(x, 'down_input')
        return self.block(np.concatenate([x, *(self.filtered(x, y, d, f'branch_{d}/') for d in (1, 3, 5))], -1), 'fuse')


CASES = {
    'dense': (DenseLayer(5, 2, 3), (X,), lambda d, x: d.dense(x, blocks=3)),
    'trans': (DenseTransLayer(2), (Y, 2 * Y[::-1]), Definition.trans),
    'wide trans': (DenseTransLayer(6), (Y, 2 * Y[::-1]), Definition.trans),
    **{f'filter {d}': (DepthDC(2, d), (X, Y), functools.partial(Definition.filtered, dilation=d)) for d in (1, 3, 5)},
    'pyramid': (DDPM(9), (X, Y), Definition.pyramid),
}


@pytest.mark.parametrize('name', CASES)
def test_definition(name):
    layer, inputs, definition = CASES[name]
    variables = init(layer, *inputs)
    expected = definition(Definition(variables), *(np.asarray(x, np.float64) for x in inputs))
    assert np.abs(expected).max() > 0.5
    assert_close(quick(layer.apply)(variables, *inputs), expected)


@pytest.mark.parametrize('dilation', [1, 3])
def test_gradients_against_float64(dilation):
    """Training mode, by central differences of float64 in a direction through inputs and parameters."""
    layer = DepthDC(2, dilation, num_blocks=2, act=nn.softplus)
    variables = init(layer, X, Y)
    rest = {'batch_stats': variables['batch_stats']}
    weight = draw('weight', (*SIZE, 2))

    def loss(params, x, y):
        z, _ = layer.apply({'params': params, **rest}, x, y, mutable=['batch_stats'])
        return (z * weight.astype(z.dtype)).sum()

    at = (variables['params'], X, Y)
    found = quick(jax.grad(loss, (0, 1, 2)))(*at)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), at)
        exact = quick(jax.grad(loss, (0, 1, 2)))(*wide)
        direction = jax.tree.map(lambda a: draw(f'direction{a.shape}', a.shape, jnp.float64), wide)
        step = quick(lambda t: loss(*jax.tree.map(lambda a, d: a + t * d, wide, direction)))
        slope = (step(1e-5) - step(-1e-5)) / 2e-5
        along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(exact), jax.tree.leaves(direction), strict=True))
        assert slope == pytest.approx(float(along), rel=1e-6)
        gone = {path for path, g in jax.tree_util.tree_leaves_with_path(exact) if not np.abs(g).max() > 1e-8}
        assert not gone, gone
    found, exact = jax.device_get((found, exact))
    scale = max(np.abs(g).max() for g in jax.tree.leaves(exact))
    jax.tree.map(lambda a, b: assert_close(a / scale, b / scale, 'float32'), found, exact)


def test_features_are_never_unfolded():
    """Of arrays nine times as large as the features there are the kernels, moved about; windows would be stacked."""
    layer, x, y = DepthDC(16, 3), draw('x', (2, 16, 16, 16)), draw('y', (2, 16, 16, 4))
    variables = init(layer, x, y)

    def large(form):
        chosen = layer.clone(implementation=form)
        found = equations(jax.make_jaxpr(chosen.apply)(variables, x, y).jaxpr)
        return {e.primitive.name for e in found if any(getattr(v.aval, 'size', 0) >= 9 * x.size for v in e.outvars)}

    kernels = {'conv_general_dilated', 'add', 'reshape', 'broadcast_in_dim', 'transpose', 'pjit', 'jit'}
    assert {'conv_general_dilated', 'transpose'} <= large(None) <= kernels
    assert not large('patches') <= kernels


@pytest.mark.parametrize('workload', shapes.HDFNET, ids=lambda workload: workload.name)
def test_no_platform_takes_patches(workload):
    """At the published sizes, forward and backward, for any batch and dtype; so `None` never unfolds either."""
    size, channels = workload.spatial, workload.in_features
    fields = {'padding': workload.padding, 'kernel_dilation': workload.kernel_dilation}
    for batch, dtype in ((1, jnp.float32), (4, jnp.float32), (64, jnp.bfloat16)):
        x = jax.ShapeDtypeStruct((batch, *size, channels), dtype)
        kernels = jax.ShapeDtypeStruct((batch, *size, 3, 3, channels), jnp.float32)
        told = ops.explain(ops.per_position_conv, x, kernels, **fields)
        assert {*told.chosen.values(), *told.backward.values()} == {'taps'}


def test_taps_are_made_in_float32():
    """Of bfloat16 inputs: the last convolution of the generator and the sown kernels; the result is bfloat16."""
    layer = DepthDC(2, 3, dtype=jnp.bfloat16)
    variables = init(layer, X, Y)
    look = quick(lambda v: (dynamic_kernels(layer, v, X, Y), layer.clone(dtype=None).apply(v, X, Y)))
    (result, kernels), expected = look(variables)
    assert (result.dtype, kernels[''].dtype) == (jnp.bfloat16, jnp.float32)
    assert kernels[''].shape == (*SIZE, 3, 3, 3)
    assert_close(result, expected, 'bfloat16')
    jaxpr = jax.make_jaxpr(layer.apply)(variables, X, Y).jaxpr
    last = [
        e for e in equations(jaxpr) if e.primitive.name == 'conv_general_dilated' and e.outvars[0].aval.shape[-1] == 27
    ]
    assert len(last) == 1 and last[0].invars[0].aval.dtype == jnp.float32
    assert set(last[0].params['precision']) == {jax.lax.Precision.HIGHEST}


def test_kernels_are_those_that_filter():
    """The middle tap alone, 1 everywhere, leaves the features as they are: the result is the static convolution."""
    layer = DepthDC(3, 5)
    variables = init(layer, X, Y)
    params = variables['params']
    last = {'kernel': jnp.zeros((1, 1, 4, 27)), 'bias': jnp.tile(jnp.eye(9)[4], 3)}
    variables = {**variables, 'params': {**params, 'generate_kernel_2': last}}
    result, kernels = quick(functools.partial(dynamic_kernels, layer))(variables, X, Y)
    np.testing.assert_array_equal(kernels[''], np.broadcast_to(np.eye(9)[4].reshape(3, 3, 1), (*SIZE, 3, 3, 3)))
    static = nn.Conv(3, (3, 3), padding=((1, 1), (1, 1)))
    assert_close(result, quick(static.apply)({'params': params['fuse']}, X))


def test_forms_agree():
    variables = init(DepthDC(2, 3), X, Y)
    forms = (None, 'reference', 'taps', 'patches')
    apply = quick(lambda v: [DepthDC(2, 3, implementation=form).apply(v, X, Y) for form in forms])
    expected, *others = apply(variables)
    for y in others:
        assert_close(y, expected)
    with pytest.raises(ValueError, match=r"got 'shifts'"):
        jax.eval_shape(DDPM(8, implementation='shifts').init, jax.random.key(0), X, Y)


def test_norms_follow_the_collections_or_the_field():
    layer = DDPM(8, num_blocks=1)
    variables = init(layer, X, Y)
    y, updated = quick(functools.partial(layer.apply, mutable=['batch_stats']))(variables, X, Y)
    changed = jax.tree.map(lambda a, b: bool((a != b).all()), updated['batch_stats'], variables['batch_stats'])
    assert all(jax.tree.leaves(changed)) and len(jax.tree.leaves(changed)) == 2 * (3 * 2 + 1)
    frozen = layer.clone(norm=functools.partial(BatchNorm, use_running_average=True, epsilon=1e-5))
    z, kept = quick(functools.partial(frozen.apply, mutable=['batch_stats']))(variables, X, Y)
    jax.tree.map(np.testing.assert_array_equal, kept['batch_stats'], variables['batch_stats'])
    assert distance(y, z) > 0.01


def test_published_sizes():
    x = jax.ShapeDtypeStruct((1, 8, 8, 64), jnp.float32)
    variables = jax.eval_shape(DDPM(64).init, jax.random.key(0), x, x)
    sizes = {k: sum(leaf.size for leaf in jax.tree.leaves(v)) for k, v in variables['params'].items()}
    assert sizes['branch_1'] == sizes['branch_3'] == sizes['branch_5'] == 119_024
    assert sum(sizes.values()) == 395_104


def test_initialisation():
    """PyTorch's: uniform, as wide for biases as for kernels."""
    x = jnp.zeros((1, 1, 1, 64))
    params = quick(DDPM(64).init)(jax.random.key(0), x, x)['params']
    for path, fan_in in (
        ('branch_3/generate_kernel_0', 9 * 64),
        ('branch_5/generate_kernel_2', 64),
        ('fuse/conv', 576),
    ):
        leaves = functools.reduce(lambda tree, name: tree[name], path.split('/'), params)
        for leaf in map(np.asarray, leaves.values()):
            bound = fan_in**-0.5
            assert 0.95 * bound < np.abs(leaf).max() <= bound, path
            assert leaf.std() == pytest.approx(bound / np.sqrt(3), rel=0.2)


def test_exported_for_any_batch():
    layer = DDPM(4, num_blocks=1, dilations=(2,))
    variables = init(layer, X, Y)
    (b,) = export.symbolic_shape('b')
    shapes = [jax.ShapeDtypeStruct((b, *x.shape[1:]), jnp.float32) for x in (X, Y)]
    exported = export.export(jax.jit(layer.apply))(variables, *shapes)
    for size in (1, 3):
        inputs = draw('x', (size, *X.shape[1:])), draw('y', (size, *Y.shape[1:]))
        assert_close(exported.call(variables, *inputs), quick(layer.apply)(variables, *inputs))


def test_cost():
    """Of one filtering layer by hand: the generator, nine taps for every channel, the last convolution."""
    report = count(DepthDC(2, 3, num_blocks=1), X, Y)
    dense = 4 * 1 + 9 * 1 * 1 + 9 * 5 * 4
    assert report.multiply_adds == 30 * (9 * 4 * 4 + dense + 4 * 27 + 9 * 3 + 9 * 3 * 2)


def test_mistakes_are_named():
    def run(layer, *inputs):
        jax.eval_shape(layer.init, jax.random.key(0), *inputs)

    with pytest.raises(ValueError, match=r'x: expected \(batch, height, width, channels\), got shape \(5, 6, 3\)'):
        run(DenseLayer(4), X[0])
    with pytest.raises(ValueError, match=r'y: expected shape \(2, 5, 6, channels\), the size of x, got \(2, 5, 5, 4\)'):
        run(DepthDC(4), X, Y[:, :, 1:])
    with pytest.raises(ValueError, match=r'depth: expected shape \(2, 5, 6, channels\), the size of x, got \(1, 5, 6'):
        run(DenseTransLayer(4), X, X[:1])
    with pytest.raises(ValueError, match=r'depth: expected the 3 channels of x, got 4'):
        run(DenseTransLayer(2), X, Y)
    with pytest.raises(ValueError, match=r'y: expected guidance of at least 4 channels, got shape \(2, 5, 6, 3\)'):
        run(DepthDC(2), Y, X)
    with pytest.raises(ValueError, match=r'dilation: expected an int >= 1, got 0'):
        run(DepthDC(2, 0), X, Y)
    with pytest.raises(ValueError, match=r'num_blocks: expected an int >= 1, got 0'):
        run(DenseLayer(8, num_blocks=0), X)
    with pytest.raises(ValueError, match=r'features: expected an int >= 4, got 3'):
        run(DDPM(3), X, Y)
    with pytest.raises(ValueError, match=r'down_factor: expected at most features = 3, got 4'):
        run(DenseLayer(3), X)
    for dilations in ((), (1, 1), 3):
        with pytest.raises(ValueError, match=r'dilations: expected different ints >= 1, at least one, got'):
            run(DDPM(8, dilations), X, Y)
