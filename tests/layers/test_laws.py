"""Laws that hold for every layer of the catalogue."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx, traverse_util

from flax_dynconv import layers
from flax_dynconv.ops.mixture_conv.api import IMPLEMENTATIONS
from tests.catalog import CATALOG, FEATURES, make
from tests.layers.common import init, inputs
from tests.layers.resnet_for_conv import ResNet
from tests.tolerances import BOUND, SAME_DTYPE, assert_close

every_layer = pytest.mark.parametrize('name', CATALOG)
WITH_BATCH_NORM = {'ODConv', 'ODConv 1x', 'ODConvNormAct'}
PER_OUTPUT = {'DyNetConv', 'DyNetConv two-layer', 'SoftmaxDyNetConv'}
TAP_SCALED = {'ODConv', 'ODConv 1x', 'PlainODConv', 'ODConvNormAct'}


def test_every_public_symbol_has_an_example():
    for name in layers.__all__:
        assert '>>>' in getattr(layers, name).__doc__, name


@every_layer
def test_fields_are_those_of_conv_and_then_keywords(name):
    ours, theirs = (list(c.__dataclass_fields__.values()) for c in (CATALOG[name].func, nn.Conv))
    assert [f.name for f in ours[:14]] == [f.name for f in theirs[:14]]
    assert not any(f.kw_only for f in ours[:14])
    assert all(f.kw_only for f in ours[14:])
    same = [f.name for f in theirs[:12]] if name != 'ODConvNormAct' else ['strides', 'dtype', 'param_dtype']
    defaults = {f.name: f.default for f in theirs}
    assert {f.name: f.default for f in ours if f.name in same} == {n: defaults[n] for n in same}


@every_layer
def test_drop_in_for_conv_in_a_network_that_knows_nothing_of_it(name):
    model, x = ResNet(conv=CATALOG[name]), inputs((2, 8, 8, 4))
    variables = init(model, x)
    static = jax.eval_shape(ResNet().init, jax.random.key(0), x)
    # Its modules are where they were; only one that it leaves unnamed is named after its class.
    unnamed = ('Block_0', 'Conv_0')
    modules = {path[:-1] for path in traverse_util.flatten_dict(static['params'])} - {unnamed}
    paths = set(traverse_util.flatten_dict(variables['params']))
    assert modules <= {path[: len(m)] for m in modules for path in paths}
    assert ('Block_0', f'{CATALOG[name].func.__name__}_0') in {path[:2] for path in paths}

    # As such a network is trained: the two collections that it knows, and no other.
    known = {'params': variables['params'], 'batch_stats': variables['batch_stats']}
    y, updated = jax.jit(partial(model.apply, mutable=['batch_stats']))(known, x)
    assert y.shape == (2, 3)
    assert np.isfinite(y).all()
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), known['batch_stats'], updated['batch_stats'])
    assert all(jax.tree.leaves(moved))
    attention = [path for path in traverse_util.flatten_dict(updated['batch_stats']) if 'routing' in path]
    assert bool(attention) == (name in WITH_BATCH_NORM)
    # Tracing is enough here: an attention that wrote its statistics in evaluation would raise.
    assert jax.eval_shape(partial(model.apply, train=False), known | updated, x).shape == (2, 3)


@functools.cache
def case(name):
    """A layer, its variables, its input and its output under jit, shared by the laws."""
    layer, x = make(name), inputs()
    variables = init(layer)
    return layer, variables, x, jax.jit(layer.apply)(variables, x)


@every_layer
def test_samples_do_not_mix(name):
    layer, variables, x, y = case(name)
    apply = jax.jit(partial(layer.apply, variables))
    for i in range(len(x)):
        assert_close(apply(x[i : i + 1]), y[i : i + 1], bound=SAME_DTYPE['float32'])


@every_layer
def test_jit_is_no_jit(name):
    layer, variables, x, y = case(name)
    assert_close(y, layer.apply(variables, x), bound=SAME_DTYPE['float32'])


@every_layer
def test_vmap_over_samples_is_the_batch(name):
    layer, variables, x, y = case(name)
    assert_close(jax.jit(jax.vmap(partial(layer.apply, variables)))(x), y, bound=SAME_DTYPE['float32'])


@every_layer
def test_any_batch_axes(name):
    layer, variables, x, y = case(name)
    apply = jax.jit(partial(layer.apply, mutable=['intermediates']))
    several, sown = apply(variables, x.reshape(1, 3, 1, *x.shape[1:]))
    assert_close(several, y.reshape(1, 3, 1, *y.shape[1:]), bound=SAME_DTYPE['float32'])
    assert all(a.shape[:3] == (1, 3, 1) for a in jax.tree.leaves(sown))
    empty, updated = layer.apply(variables, x[:0], mutable=['batch_stats'])
    assert empty.shape == (0, *y.shape[1:])
    kept = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), dict(updated), {k: variables[k] for k in updated})
    assert all(jax.tree.leaves(kept))


@every_layer
def test_bfloat16_is_close_to_float32_and_routes_in_float32(name):
    _, variables, x, exact = case(name)
    half = make(name, dtype=jnp.bfloat16)
    y, sown = jax.jit(partial(half.apply, mutable=['intermediates']))(variables, x)
    assert y.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(sown)} == {jnp.dtype('float32')}
    assert_close(y, exact, bound=BOUND['bfloat16'])


@every_layer
def test_works_through_the_nnx_bridge_with_training_statistics(name):
    layer, variables, x, y = case(name)
    graph, state = nnx.split(nnx.eval_shape(lambda: nnx.bridge.ToNNX(layer, rngs=nnx.Rngs(0)).lazy_init(x)))
    # Every array of the bridge's module is one of the variables, or belongs to its random streams.
    flat = _merge(*variables.values()) | {
        path: jax.random.key(0) if 'key' in path else jnp.zeros((), jnp.uint32)
        for path in traverse_util.flatten_dict(nnx.to_pure_dict(state))
        if path[0] == 'to_nnx__rngs'
    }
    nnx.replace_by_pure_dict(state, traverse_util.unflatten_dict(flat))
    model = nnx.merge(graph, state)
    assert_close(nnx.jit(lambda m, x: m(x))(model, x), y, bound=SAME_DTYPE['float32'])

    expected, updated = jax.jit(partial(layer.apply, mutable=['batch_stats']))(variables, x)
    trained = nnx.jit(lambda m, x: m(x, mutable=['batch_stats']))(model, x)
    assert_close(trained, expected, bound=SAME_DTYPE['float32'])
    after = traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(model)))
    statistics = traverse_util.flatten_dict(updated.get('batch_stats', {}))
    assert bool(statistics) == (name in WITH_BATCH_NORM)
    for path, value in statistics.items():
        assert_close(after[path], value, bound=SAME_DTYPE['float32'])


def _merge(*collections):
    """The collections in one flat dict: their paths do not collide."""
    return {path: a for tree in collections for path, a in traverse_util.flatten_dict(tree).items()}


def declines(name, form):
    """Whether a form cannot do the catalogue's case: 3x3 kernels without groups."""
    impossible = {
        'taps': set(CATALOG),  # depthwise alone: among the definitions
        'features_in': PER_OUTPUT,  # weights per output channel do not commute with the convolution
        'columns': PER_OUTPUT,
        'blocks': PER_OUTPUT,  # nor are they a matrix product
        'features_out': TAP_SCALED,  # nor do factors per tap: 1x1 kernels have a test of their own
    }
    return name in impossible.get(form, ())


@functools.cache
def definition(name):
    """The output of the reference form."""
    return jax.jit(make(name, implementation='reference').apply)(*case(name)[1:3])


@pytest.mark.parametrize('form', [f for f in IMPLEMENTATIONS if f != 'reference'])
@every_layer
def test_forms_agree_with_the_definition_or_decline(name, form):
    _, variables, x, y = case(name)
    apply = jax.jit(make(name, implementation=form).apply)
    if declines(name, form):
        with pytest.raises(NotImplementedError, match=form):
            apply(variables, x)
        return
    assert_close(apply(variables, x), definition(name), bound=SAME_DTYPE['float32'])
    assert_close(y, definition(name), bound=SAME_DTYPE['float32'])


@pytest.mark.parametrize('form', ['patches', 'features_in', 'features_out'])
@pytest.mark.parametrize('name', ['ODConv', 'ODConv 1x'])
def test_pointwise_odconv_mixes_kernels_or_features_alike(name, form):
    layer, x = CATALOG[name](FEATURES, (1, 1)), inputs()
    variables = init(layer, x)
    expected = layer.clone(implementation='reference').apply(variables, x)
    assert_close(layer.clone(implementation=form).apply(variables, x), expected, bound=SAME_DTYPE['float32'])
    assert_close(layer.apply(variables, x), expected, bound=SAME_DTYPE['float32'])
