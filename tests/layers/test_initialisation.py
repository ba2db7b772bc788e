"""Initial values: the law of every layer's kernels, each kernel drawn on its own, attention near uniform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import CondConv, CondConvRouting, DynamicConv, DyNetConv, ODConv, ODConvRouting
from flax_dynconv.layers._arrays import stacked
from tests.layers.common import init

K, SIZE, CIN, COUT = 4, 3, 64, 96
FAN_IN, FAN_OUT = SIZE * CIN, SIZE * COUT
# (layer, standard deviation of a kernel, largest value of a uniform law or None)
LAWS = [
    (CondConv, np.sqrt(2 / (FAN_IN + FAN_OUT)), np.sqrt(6 / (FAN_IN + FAN_OUT))),
    (DynamicConv, np.sqrt(2 / FAN_IN), np.sqrt(6 / FAN_IN)),
    (DyNetConv, np.sqrt(1 / FAN_IN), None),
    (ODConv, np.sqrt(2 / FAN_OUT), None),
]


@pytest.mark.parametrize('layer, deviation, largest', LAWS)
def test_law_of_the_kernels(layer, deviation, largest):
    variables = jax.jit(layer(COUT, (SIZE,), num_kernels=K).init)(jax.random.key(0), jnp.ones((2, 5, CIN)))
    bank = np.asarray(variables['params']['kernel']).reshape(K, -1)
    np.testing.assert_allclose(bank.std(axis=1), deviation, rtol=0.03)
    np.testing.assert_allclose(bank.mean(axis=1), 0, atol=0.03 * deviation)
    assert np.abs(np.corrcoef(bank) - np.eye(K)).max() < 0.03
    if largest is not None:
        assert 0.99 * largest < np.abs(bank).max() <= largest
    np.testing.assert_array_equal(variables['params']['bias'], 0)


def test_law_of_depthwise_odconv_counts_all_outputs_as_torch_does():
    layer = ODConv(96, (3,), feature_group_count=96, num_kernels=4)
    variables = jax.jit(layer.init)(jax.random.key(0), jnp.ones((2, 5, 96)))
    bank = np.asarray(variables['params']['kernel'])
    assert bank.shape == (4, 3, 1, 96)
    np.testing.assert_allclose(bank.std(), np.sqrt(2 / (96 * 3)), rtol=0.1)


def test_law_of_the_attention():
    routing = ODConvRouting(256, (1,), num_kernels=4, min_hidden=128)
    params = jax.jit(routing.init)(jax.random.key(0), jnp.ones((2, 64)))['params']
    np.testing.assert_allclose(np.std(params['hidden']['kernel']), np.sqrt(2 / 128), rtol=0.05)
    np.testing.assert_allclose(np.std(params['filter']['kernel']), np.sqrt(2 / 256), rtol=0.05)
    np.testing.assert_allclose(np.std(params['kernel']['kernel']), np.sqrt(2 / 4), rtol=0.1)
    for name in ('channel', 'filter', 'kernel'):
        np.testing.assert_array_equal(params[name]['bias'], 0)
    condconv = jax.jit(CondConvRouting().init)(jax.random.key(0), jnp.ones((2, 64)))['params']
    bound = np.sqrt(6 / (64 + 8))
    assert 0.9 * bound < np.abs(condconv['kernel']).max() <= bound
    np.testing.assert_array_equal(condconv['bias'], 0)


def test_every_kernel_is_one_draw_of_the_users_initialiser():
    key, law = jax.random.key(3), nn.initializers.orthogonal()
    bank = stacked(law, 3)(key, (4, 4), jnp.float32)
    for draw, own in zip(bank, jax.random.split(key, 3), strict=True):
        np.testing.assert_allclose(draw, law(own, (4, 4), jnp.float32), atol=1e-6)


def test_names_of_axes_get_one_for_the_kernels():
    law = nn.with_partitioning(nn.initializers.lecun_normal(), (None, None, 'in', 'out'))
    layer = CondConv(4, (1, 1), kernel_init=law)
    variables = jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((2, 3, 3, 5)))
    assert nn.get_partition_spec(variables)['params']['kernel'] == jax.sharding.PartitionSpec(
        None, None, None, 'in', 'out'
    )
    assert variables['params']['kernel'].value.shape == (8, 1, 1, 5, 4)


def test_param_dtype():
    layer = ODConv(2, (1,), param_dtype=jnp.bfloat16)
    variables = jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((2, 5, 4)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables['params'])} == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize('dtype', [jnp.int32, jnp.uint8])
def test_integer_input_is_promoted(dtype):
    layer, x = DynamicConv(2, (1,)), jnp.arange(24, dtype=dtype).reshape(2, 4, 3)
    variables = init(layer, x)
    y = layer.apply(variables, x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, layer.apply(variables, x.astype(jnp.float32)), rtol=1e-6)
