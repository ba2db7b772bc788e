"""Routing: given or computed, shared by a block, injected, sown; dropout; norms inside the attention."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import (
    CondConv,
    CondConvRouting,
    DynamicConv,
    DynamicConvRouting,
    DyNetConv,
    DyNetRouting,
    NoNorm,
    ODConv,
    ODConvAttention,
    ODConvRouting,
    PlainODConv,
    PlainODConvRouting,
    SoftmaxDyNetConv,
    SoftmaxDyNetRouting,
)
from tests.layers.common import draw, init, inputs
from tests.tolerances import assert_close

PAIRS = {
    'CondConv': (CondConv(6, (1, 1)), CondConvRouting()),
    'DynamicConv': (DynamicConv(6, (1, 1)), DynamicConvRouting()),
    'DyNetConv': (DyNetConv(6, (1, 1)), DyNetRouting(6)),
    'ODConv': (ODConv(6, (3, 3)), ODConvRouting(6, (3, 3))),
    'PlainODConv': (PlainODConv(6, (3, 3)), PlainODConvRouting(6, (3, 3))),
    'SoftmaxDyNetConv': (SoftmaxDyNetConv(6, (1, 1)), SoftmaxDyNetRouting(6)),
}


def inside(variables):
    """The variables of the submodule `routing`."""
    return {name: tree['routing'] for name, tree in variables.items() if 'routing' in tree}


@pytest.mark.parametrize('name', PAIRS)
def test_a_routing_module_gives_what_the_layer_computes_and_sows(name):
    layer, routing = PAIRS[name]
    x = inputs((2, 3, 3, 6))
    variables = init(layer, x)
    own, sown = layer.apply(variables, x, mutable=['intermediates'])
    attention = routing.apply(inside(variables), x)
    np.testing.assert_allclose(layer.apply(variables, x, attention), own, atol=1e-6, rtol=0)
    # The same for an input that the block has pooled already.
    pooled = routing.apply(inside(variables), x.mean(axis=(1, 2)))
    for a, b in zip(jax.tree.leaves(pooled), jax.tree.leaves(attention), strict=True):
        assert_close(a, b)
    bare = {'params': {key: tree for key, tree in variables['params'].items() if key != 'routing'}}
    np.testing.assert_allclose(layer.apply(bare, x, attention), own, atol=1e-6, rtol=0)
    named = attention._asdict() if isinstance(attention, ODConvAttention) else {'kernel': attention}
    assert set(sown['intermediates']) == {f'attention_{key}' for key in named}
    for key, array in named.items():
        assert_close(sown['intermediates'][f'attention_{key}'][0], array)


def test_a_given_routing_creates_no_routing_parameters():
    variables = jax.eval_shape(CondConv(6, (1, 1)).init, jax.random.key(0), inputs((2, 3, 3, 6)), jnp.ones((2, 8)))
    assert set(variables['params']) == {'kernel', 'bias'}


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.int32])
def test_a_given_routing_of_any_dtype_is_mixed_in_float32(dtype):
    layer, x = CondConv(6, (1, 1)), inputs((2, 3, 3, 6))
    variables, routing = init(layer, x), (3 * draw('r', (2, 8))).astype(dtype)
    assert_close(layer.apply(variables, x, routing), layer.apply(variables, x, routing.astype(jnp.float32)))


class Inverted(nn.Module):
    """A block whose three convolutions share one routing, computed from the block's input."""

    @nn.compact
    def __call__(self, x):
        conv = partial(CondConv, num_kernels=3, use_bias=False)
        r = CondConvRouting(num_kernels=3, name='routing')(x)
        y = nn.relu(conv(8, (1, 1), name='expand')(x, r))
        y = nn.relu(conv(8, (3, 3), feature_group_count=8, name='depthwise')(y, r))
        return conv(4, (1, 1), name='project')(y, r)


def test_a_block_shares_its_routing():
    x = inputs((2, 4, 4, 4))
    variables = init(Inverted(), x)
    assert set(variables['params']) == {'routing', 'expand', 'depthwise', 'project'}
    assert all(set(variables['params'][name]) == {'kernel'} for name in ('expand', 'depthwise', 'project'))
    assert Inverted().apply(variables, x).shape == (2, 4, 4, 4)


def test_dynet_predicts_a_blocks_coefficients_at_once_ordered_by_convolution_channel_kernel():
    routing, x = DyNetRouting((2, 3), num_kernels=4), inputs((2, 6))
    variables = init(routing, x)
    first, second = routing.apply(variables, x)
    logits = np.asarray(x @ variables['params']['logits']['kernel'] + variables['params']['logits']['bias'][None])
    eta = 1 / (1 + np.exp(-logits))
    for b in range(2):
        for k in range(4):
            for o in range(2):
                assert abs(first[b, k, o] - eta[b, o * 4 + k]) < 1e-6
            for o in range(3):
                assert abs(second[b, k, o] - eta[b, 8 + o * 4 + k]) < 1e-6


def test_dynet_with_one_kernel_scales_the_channels_of_a_static_convolution():
    layer, x = DyNetConv(6, (3, 3), num_kernels=1, use_bias=False), inputs((2, 4, 3, 6))
    variables = init(layer, x)
    kernel, eta = variables['params']['kernel'], DyNetRouting(6, num_kernels=1).apply(inside(variables), x)
    static = nn.Conv(6, (3, 3), use_bias=False).apply({'params': {'kernel': kernel[0]}}, x)
    assert_close(layer.apply(variables, x), static * eta.reshape(2, 1, 1, 6))


@pytest.mark.parametrize('name', ['CondConv', 'DynamicConv', 'DyNetConv'])
def test_equal_kernels_and_weights_that_sum_to_one_are_a_static_convolution(name):
    layer, x = PAIRS[name][0], inputs((2, 3, 3, 6))
    static = nn.Conv(6, (1, 1))
    params = init(static, x)['params']
    k = layer.num_kernels
    bank = {'kernel': jnp.stack([params['kernel']] * k), 'bias': jnp.stack([params['bias']] * k)}
    weights = jnp.full((2, k), 1 / k)
    if name == 'DyNetConv':
        bank['bias'], weights = params['bias'], jnp.full((2, k, 6), 1 / k)
    assert_close(layer.apply({'params': bank}, x, weights), static.apply({'params': params}, x))


class Uniform(nn.Module):
    """A routing of one's own: it takes what the layer says, and needs no parameters."""

    num_kernels: int
    dtype: object = None
    param_dtype: object = None
    precision: object = None

    @nn.compact
    def __call__(self, x):
        return jnp.full((x.shape[0], self.num_kernels), 1.0 / self.num_kernels)


def test_another_router():
    x = inputs((2, 3, 3, 6))
    layer = CondConv(6, (1, 1), num_kernels=4, router=Uniform)
    variables = init(layer, x)
    assert set(variables['params']) == {'kernel', 'bias'}
    given = CondConv(6, (1, 1), num_kernels=4).apply(variables, x, jnp.full((2, 4), 0.25))
    assert_close(layer.apply(variables, x), given)


def test_the_router_without_biases_of_the_three_dimensional_reference():
    layer = DynamicConv(4, (3, 3, 3), router=partial(DynamicConvRouting, use_bias=False))
    variables = jax.eval_shape(layer.init, jax.random.key(0), inputs((2, 4, 3, 5, 6)))
    shapes = jax.tree.map(jnp.shape, variables['params']['routing'])
    assert shapes == {'hidden': {'kernel': (6, 2)}, 'logits': {'kernel': (2, 4)}}


def test_hidden_sizes():
    def hidden(routing, channels):
        variables = jax.eval_shape(routing.init, jax.random.key(0), inputs((2, channels)))
        return variables['params']['hidden']['kernel'].shape[1]

    assert [hidden(DynamicConvRouting(num_kernels=5), c) for c in (1, 3, 8, 64)] == [1, 5, 3, 17]
    assert [hidden(ODConvRouting(4, (3, 3)), c) for c in (8, 256, 288, 512)] == [16, 16, 18, 32]
    assert hidden(ODConvRouting(4, (3, 3), reduction=0.5, min_hidden=2), 8) == 4
    assert [hidden(DyNetRouting(4, reduction=0.25), c) for c in (2, 64)] == [1, 16]
    assert [hidden(PlainODConvRouting(4, (3, 3)), c) for c in (4, 15, 64)] == [1, 3, 16]


def test_which_attentions_odconv_skips():
    def names(channels, *args, **kwargs):
        variables = jax.eval_shape(ODConvRouting(*args, **kwargs).init, jax.random.key(0), inputs((2, channels)))
        return set(variables['params']) - {'hidden', 'norm'}

    every = {'channel', 'filter', 'spatial', 'kernel'}
    assert names(8, 12, (3, 3)) == every
    assert names(8, 8, (3, 3)) == every
    assert names(8, 12, (1, 1)) == every - {'spatial'}
    assert names(8, 12, 3) == every
    assert names(8, 12, (1, 3)) == every
    assert names(8, 12, (3, 3), num_kernels=1) == every - {'kernel'}
    assert names(8, 8, (3, 3), feature_group_count=8) == every - {'filter'}
    assert names(8, 16, (3, 3), feature_group_count=8) == every
    assert names(8, 8, (1, 1), num_kernels=1, feature_group_count=8) == {'channel'}


def test_dropout_is_active_exactly_when_its_rng_is_given():
    routing, x = SoftmaxDyNetRouting(2, dropout_rate=0.5), inputs((2, 6))
    variables = init(routing, x)
    exact = routing.apply(variables, x)
    np.testing.assert_array_equal(exact, routing.apply(variables, x))
    dropped = [routing.apply(variables, x, rngs={'dropout': jax.random.key(i)}) for i in range(2)]
    assert not np.allclose(dropped[0], exact)
    assert not np.allclose(dropped[0], dropped[1])
    np.testing.assert_allclose(dropped[0].sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize('norm', [NoNorm, nn.LayerNorm, partial(nn.BatchNorm, use_running_average=True)])
def test_other_norms(norm):
    layer, x = ODConv(4, (1, 1), norm=norm), inputs((1, 3, 3, 6))
    variables = init(layer, x)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        layer.apply(variables, x, mutable=['batch_stats'])
    given = variables['params']['routing'].get('norm', {})
    assert set(given) == (set() if norm is NoNorm else {'scale', 'bias'})


def test_no_norm_is_the_identity():
    routing, x = ODConvRouting(4, (1, 1), num_kernels=1, norm=NoNorm), inputs((2, 6))
    p = init(routing, x)['params']
    hidden = np.maximum(np.asarray(x @ p['hidden']['kernel']), 0)
    logits = hidden @ np.asarray(p['channel']['kernel']) + np.asarray(p['channel']['bias'])
    assert_close(routing.apply({'params': p}, x).channel, 1 / (1 + np.exp(-logits)))


@pytest.mark.parametrize('norm', [None, partial(nn.BatchNorm, use_running_average=False)])
def test_training_on_a_batch_of_one_warns(norm):
    routing, x = ODConvRouting(4, (1, 1), norm=norm), inputs((1, 6))
    with pytest.warns(UserWarning, match='batch norm in training sees one value per channel'):
        routing.apply(init(routing, x), x, mutable=['batch_stats'])


def test_statistics_change_exactly_when_they_are_mutable():
    routing, x = ODConvRouting(4, (1, 1), num_kernels=1), inputs((3, 6))
    variables = init(routing, x)
    frozen, untouched = routing.apply(variables, x, mutable=['intermediates'])
    assert 'batch_stats' not in untouched
    trained, updated = routing.apply(variables, x, mutable=['batch_stats'])
    assert set(updated) == {'batch_stats'}
    assert not np.allclose(frozen.channel, trained.channel)
    # What changed is the statistics that were used: those of the batch.
    hidden = x @ variables['params']['hidden']['kernel']
    stats = {'mean': hidden.mean(axis=0), 'var': hidden.var(axis=0)}
    again = routing.apply({**variables, 'batch_stats': {'norm': stats}}, x)
    assert_close(again.channel, trained.channel)


def test_attention_follows_the_sample_alone_and_pools_in_float32():
    routing, x = CondConvRouting(dtype=jnp.bfloat16), 200 + draw('x', (2, 40, 40, 3))
    variables = init(routing, x)
    r = routing.apply(variables, x)
    assert r.dtype == jnp.float32
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])
    logits = np.asarray(x, np.float64).mean(axis=(1, 2)) @ p['kernel'] + p['bias']
    assert_close(r, 1 / (1 + np.exp(-logits)), bound=2e-5)
