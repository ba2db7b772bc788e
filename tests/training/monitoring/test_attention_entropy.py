"""Entropy of kernel attention against numpy, its gradient and its communication."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from flax_dynconv.layers import CondConv, DyNetConv, ODConv
from flax_dynconv.training.monitoring import attention_entropy


def by_numpy(attentions):
    """The definition, one sample and one channel at a time, in float64."""
    layers = []
    for attention in attentions:
        attention = np.asarray(attention, np.float64)
        columns = attention[:, :, None] if attention.ndim == 2 else attention
        each = []
        for sample in columns:
            for a in sample.T:
                p = a / a.sum()
                each.append(-sum(q * np.log(q) for q in p if q > 0))
        layers.append(np.mean(each))
    return np.mean(layers)


class Net(nn.Module):
    """One layer of each kind: softmax, sigmoid, sigmoid per output channel, one kernel, static."""

    @nn.compact
    def __call__(self, x):
        for layer in (
            functools.partial(ODConv, num_kernels=4),
            functools.partial(CondConv, num_kernels=3),
            functools.partial(DyNetConv, num_kernels=2),
            functools.partial(ODConv, num_kernels=1),
            nn.Conv,
        ):
            x = layer(6, (1, 1))(x)
        return x


def test_a_network_of_all_kinds():
    @functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
    def attend(key):
        x = jax.random.normal(key, (5, 4, 4, 6))
        variables = jax.tree.map(lambda leaf: 3 * leaf, Net().init(key, x))  # less even than at the start
        return Net().apply(variables, x, mutable=['intermediates'])[1]

    shown = attend(jax.random.key(0))
    layers = shown['intermediates']
    attentions = [layers[name]['attention_kernel'][0] for name in ('ODConv_0', 'CondConv_0', 'DyNetConv_0')]
    assert [a.shape for a in attentions] == [(5, 4), (5, 3), (5, 2, 6)]
    assert layers['ODConv_1'].get('attention_kernel', [jnp.ones((5, 1))])[0].shape == (5, 1)
    value = attention_entropy(shown)
    assert value.dtype == jnp.float32
    assert value.shape == ()
    np.testing.assert_allclose(value, by_numpy(attentions), rtol=1e-6)
    np.testing.assert_array_equal(attention_entropy(layers), value)


@pytest.mark.parametrize(
    ('attention', 'expected'),
    [
        ([[1.0, 0.0, 0.0]], 0.0),
        ([[0.25, 0.25, 0.25, 0.25]], np.log(4)),
        ([[0.9, 0.9]], np.log(2)),
        ([[1e-30, 0.0], [0.5, 0.5]], np.log(2) / 2),
        ([[0.0, 0.0]], np.log(2)),
    ],
)
def test_extremes(attention, expected):
    value = attention_entropy({'a': {'attention_kernel': (jnp.array(attention),)}})
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-7)


def test_half_precision_is_widened_first():
    attention = jnp.linspace(0.1, 0.9, 12).reshape(2, 6).astype(jnp.bfloat16)
    value = attention_entropy({'attention_kernel': (attention,)})
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, by_numpy([attention]), rtol=1e-6)


@pytest.mark.parametrize(
    'shown',
    [{}, {'intermediates': {}}, {'conv': {'attention_kernel': (jnp.ones((2, 1)),)}}, {'conv': {'features': (1.0,)}}],
)
def test_none_without_several_kernels(shown):
    assert attention_entropy(shown) is None


def test_no_gradient_flows():
    def objective(a):
        return attention_entropy({'attention_kernel': (a,)})

    for attention in ([[0.2, 0.8]], [[0.0, 1.0]], [[0.0, 0.0]]):
        np.testing.assert_array_equal(jax.grad(objective)(jnp.array(attention)), np.zeros((1, 2)))


@pytest.mark.parametrize('shape', [(8, 4), (8, 4, 6)])
def test_a_divided_batch_is_not_gathered(shape):
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    attention = jax.random.uniform(jax.random.key(0), shape)
    divided = jax.device_put(attention, NamedSharding(mesh, PartitionSpec('data')))
    compiled = jax.jit(lambda a: attention_entropy({'attention_kernel': (a,)})).lower(divided).compile()
    text = compiled.as_text()
    assert 'all-gather' not in text
    assert 'all-to-all' not in text
    assert 'all-reduce' in text
    np.testing.assert_allclose(compiled(divided), by_numpy([attention]), rtol=1e-6)
