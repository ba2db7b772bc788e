"""Layers under the lifted transformations of Flax and under pmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import CondConv, ODConv, set_temperature
from tests.tolerances import assert_close

LAYERS = {
    'CondConv': functools.partial(CondConv, num_kernels=2),
    'ODConv': functools.partial(ODConv, num_kernels=2),
}
X = jnp.asarray(np.random.RandomState(0).standard_normal((4, 5, 5, 4)), jnp.float32)


def init(module, x):
    # Random numbers compile slowly: a program that runs once is not worth optimising.
    options = {'xla_backend_optimization_level': 0}
    return jax.jit(module.init, compiler_options=options)(jax.random.key(0), x)


@pytest.mark.parametrize('name', LAYERS)
def test_remat_changes_no_gradient(name):
    layer, checkpointed = LAYERS[name](4, (3, 3)), nn.remat(LAYERS[name].func)(4, (3, 3), num_kernels=2)
    variables = init(layer, X)

    def gradient(module):
        return jax.jit(jax.grad(lambda p: (module.apply({**variables, 'params': p}, X) ** 2).sum()))

    jax.tree.map(assert_close, gradient(checkpointed)(variables['params']), gradient(layer)(variables['params']))


@pytest.mark.parametrize('name', LAYERS)
def test_scan_over_depth_is_layer_after_layer(name):
    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + LAYERS[name](4, (3, 3), name='conv')(x), None

    axes = {'params': 0, 'batch_stats': 0, 'temperature': 0}
    deep = nn.scan(Step, variable_axes=axes, split_rngs={'params': True}, length=3)(name='steps')
    variables = jax.jit(deep.init)(jax.random.key(0), X, None)
    y, _ = deep.apply(variables, X, None)
    expected = X
    for i in range(3):
        one = jax.tree.map(lambda v, i=i: v[i], dict(variables))
        one = {collection: tree['conv'] for collection, tree in one.items()}
        expected = expected + LAYERS[name](4, (3, 3)).apply(one, expected)
    assert_close(y, expected)


@pytest.mark.parametrize('name', LAYERS)
def test_vmap_over_an_ensemble(name):
    axes = {'params': 0, 'batch_stats': 0, 'temperature': 0}
    lifted = nn.vmap(LAYERS[name].func, in_axes=None, variable_axes=axes, split_rngs={'params': True}, axis_size=2)
    ensemble = lifted(4, (3, 3), num_kernels=2)
    variables = init(ensemble, X)
    y = ensemble.apply(variables, X)
    assert y.shape == (2, *X.shape)
    for i in range(2):
        member = jax.tree.map(lambda v, i=i: v[i], dict(variables))
        assert_close(y[i], LAYERS[name](4, (3, 3)).apply(member, X))


@pytest.mark.parametrize('name', LAYERS)
def test_pmap_sums_to_the_gradient_of_the_whole_batch(name):
    layer = LAYERS[name](4, (3, 3))
    variables = init(layer, X)

    def gradient(x):
        return jax.grad(lambda p: (layer.apply({**variables, 'params': p}, x) ** 2).sum())(variables['params'])

    mapped = jax.pmap(lambda x: jax.lax.psum(gradient(x), 'data'), axis_name='data')
    actual = jax.tree.map(lambda g: g[0], mapped(X.reshape(4, 1, *X.shape[1:])))
    jax.tree.map(assert_close, actual, jax.jit(gradient)(X))


@pytest.mark.parametrize('value', [0.0, -1.0])
def test_a_temperature_given_straight_to_apply_is_checked(value):
    layer = ODConv(4, (3, 3))
    variables = init(layer, X)
    bad = jax.tree.map(lambda t: jnp.full_like(t, value), variables['temperature'])
    with pytest.raises(ValueError, match=f'temperature: expected a value > 0, got {value}'):
        layer.apply({**variables, 'temperature': bad}, X)
    assert jnp.isfinite(layer.apply(set_temperature(variables, 1e-3), X)).all()
    # A known temperature in a traced program, and a traced one: neither may turn a tracer into a bool.
    parameters = {'params': variables['params']}
    jax.jit(lambda p: layer.apply({**variables, **p}, X))(parameters)
    jax.jit(lambda v: layer.apply(v, X))(variables)


def test_what_a_router_returns_is_checked():
    class Wrong(nn.Module):
        num_kernels: int = 0
        shape: tuple = ()

        @nn.compact
        def __call__(self, x):
            return jnp.ones((x.shape[0], *self.shape), jnp.bfloat16)

    def router(shape):
        return lambda name, **_: Wrong(shape=shape, name=name)

    with pytest.raises(ValueError, match=r'output of router: expected shape \(\*batch, K\) = \(4, 8\), got \(4, 3\)'):
        CondConv(4, (3, 3), router=router((3,))).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match='routing: expected an ODConvAttention'):
        ODConv(4, (3, 3), router=router((4,))).init(jax.random.key(0), X)
    # A half router is mixed in float32: the weights are exact here, and so is the bias.
    layer = CondConv(4, (1, 1), router=router((8,)), bias_init=nn.initializers.constant(1 / 3))
    variables = init(layer, X)
    bias = layer.apply(variables, jnp.zeros_like(X))
    assert abs(float(bias[0, 0, 0, 0]) - 8 / 3) < 1e-6
