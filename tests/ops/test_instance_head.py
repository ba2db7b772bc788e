"""CondInst's head: every form against float64 loops, its gradients, its memory, its shardings and its messages."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv import ops
from flax_dynconv.ops.instance_head import IMPLEMENTATIONS, _blocks
from tests.compiled.programs import collectives
from tests.ops.operators import fast_jit
from tests.tolerances import BOUND, assert_close
from tests.x64 import x64

every_form = pytest.mark.parametrize('form', IMPLEMENTATIONS)
CONDINST, WITHOUT_COORDINATES = (6, 5, 3, 1), (4, 5, 1)


def make(channels=CONDINST, coordinates=True, batch=2, instances=3, height=5, width=7, dtype='float64', seed=0):
    """(features, weights, biases, locations, scales) of unit scale, of values that `dtype` holds exactly."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(jnp.dtype(dtype))

    layers = list(itertools.pairwise(channels))
    features = normal(batch, height, width, channels[0] - 2 * coordinates)
    weights = [normal(batch, instances, i, o) for i, o in layers]
    biases = [normal(batch, instances, o) for _, o in layers]
    if not coordinates:
        return features, weights, biases, None, None
    locations = rng.integers(0, 50, (batch, instances, 2)).astype(jnp.dtype(dtype))
    return features, weights, biases, locations, rng.choice([16, 32, 64], (batch, instances)).astype(jnp.dtype(dtype))


def oracle(features, weights, biases, locations, scales, g, stride=8):
    """Logits and the gradients of sum(g logits), one pixel of one instance at a time."""
    arrays = jax.tree.map(lambda a: np.asarray(a, np.float64), (features, weights, biases, locations, scales))
    features, weights, biases, locations, scales = arrays
    gradients = jax.tree.map(np.zeros_like, arrays)
    d_features, d_weights, d_biases, d_locations, d_scales = gradients
    logits = np.zeros(g.shape)
    for b, n, row, column in np.ndindex(g.shape):
        values = list(features[b, row, column])
        if locations is not None:
            apart = locations[b, n] - [stride * column + stride // 2, stride * row + stride // 2]
            values = [*(apart / scales[b, n]), *values]
        inputs = []
        for layer, (w, bias) in enumerate(zip(weights, biases, strict=True)):
            inputs.append([v if layer == 0 or v > 0 else 0.0 for v in values])
            values = [bias[b, n, o] + np.dot(inputs[-1], w[b, n, :, o]) for o in range(w.shape[3])]
        (logits[b, n, row, column],) = values
        d = np.array([g[b, n, row, column]], np.float64)
        for layer in reversed(range(len(weights))):
            d_weights[layer][b, n] += np.outer(inputs[layer], d)
            d_biases[layer][b, n] += d
            d = weights[layer][b, n] @ d
            d = d if layer == 0 else np.where(np.array(inputs[layer]) > 0, d, 0)
        if locations is not None:
            d_locations[b, n] += d[:2] / scales[b, n]
            d_scales[b, n] -= d[:2] @ apart / scales[b, n] ** 2
            d = d[2:]
        d_features[b, row, column] += d
    return logits, gradients


def cotangent(arrays, dtype='float64'):
    features, weights = arrays[:2]
    shape = (features.shape[0], weights[0].shape[1], *features.shape[1:3])
    return np.random.default_rng(1).standard_normal(shape).astype(jnp.dtype(dtype))


def both(form, arrays, g, **options):
    """Logits and cotangents of all arrays."""
    y, pull = jax.vjp(lambda *arrays: ops.instance_head(*arrays, implementation=form, **options), *arrays)
    return y, pull(jnp.asarray(g, y.dtype))


def all_close(actual, wanted, bound):
    jax.tree.map(lambda a, w: assert_close(a, w, bound=bound), actual, wanted)


NETWORKS = {
    'condinst': (CONDINST, True),
    'no_coordinates': (WITHOUT_COORDINATES, False),
    'one_layer': ((3, 1), True),
    'four_layers': ((3, 4, 2, 3, 1), True),
}


@pytest.mark.parametrize('network', NETWORKS)
@every_form
def test_logits_and_gradients_against_loops(form, network, monkeypatch):
    # Two blocks of 18 for the 35 pixels: the last one is padded.
    monkeypatch.setattr(_blocks, 'MINIMUM', 20)
    monkeypatch.setattr(_blocks, 'TARGET_ON_CPU', 1)
    arrays = make(*NETWORKS[network])
    g = cotangent(arrays)
    wanted, gradients = oracle(*arrays, g, stride=6)
    with x64():
        y, actual = fast_jit(functools.partial(both, form, stride=6))(arrays, g)
    assert y.dtype == np.float64
    all_close((y, actual), (wanted, gradients), BOUND['float64'])


@every_form
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_narrow_types(form, dtype):
    arrays = make(dtype=dtype)
    g = cotangent(arrays, dtype)
    wanted, gradients = oracle(*arrays, g)
    y, actual = fast_jit(functools.partial(both, form))(arrays, g)
    # Everything between operands and results is float32: they are rounded once.
    all_close((y, actual), (wanted, gradients), float(jnp.finfo(dtype).eps))
    assert {a.dtype for a in jax.tree.leaves((y, actual))} == {jnp.dtype(dtype)}


def test_dtype_of_the_result():
    arrays = make(dtype='bfloat16')
    wanted, _ = oracle(*arrays, cotangent(arrays))
    y = ops.instance_head(*arrays, preferred_element_type='float32')
    assert y.dtype == np.float32
    assert_close(y, wanted)
    arrays = arrays[0], *make(dtype='float32')[1:]
    assert ops.instance_head(*arrays).dtype == jnp.bfloat16


@pytest.mark.parametrize('empty', ['batch', 'instances', 'height', 'width'])
def test_nothing_to_compute(empty):
    arrays = jax.tree.map(jnp.asarray, make(dtype='float32', **{empty: 0}))
    g = cotangent(arrays)
    y, gradients = both(None, arrays, g)
    assert y.shape == g.shape and y.size == 0
    for gradient, array in zip(jax.tree.leaves(gradients), jax.tree.leaves(arrays), strict=True):
        assert gradient.shape == array.shape and not np.any(gradient)


def loss(form, arrays):
    return (ops.instance_head(*arrays, implementation=form) ** 2).sum()


@pytest.mark.parametrize('form', ['unrolled', 'products'])
def test_gradients_of_gradients(form):
    arrays, other = make(), make(seed=3)

    def curvature(form, arrays):
        _, pull = jax.vjp(jax.grad(functools.partial(loss, form)), arrays)
        return pull(other)

    with x64():
        arrays, other = jax.tree.map(jnp.asarray, (arrays, other))
        actual, wanted = (fast_jit(curvature, static_argnums=0)(f, arrays) for f in (form, 'reference'))
    all_close(actual, wanted, 1e-10)


@pytest.mark.parametrize('form', ['unrolled', 'products'])
def test_vmap(form):
    two = [make(dtype='float32', seed=seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *a: np.stack(a), *two)
    g = cotangent(two[0], 'float32')
    actual = fast_jit(jax.vmap(lambda arrays: both(form, arrays, g)))(stacked)
    wanted = jax.tree.map(lambda *a: np.stack(a), *(oracle(*arrays, g) for arrays in two))
    all_close(actual, wanted, BOUND['float32'])


def test_forward_mode_of_the_definition():
    arrays = make()
    with x64():
        operands = jax.tree.map(jnp.asarray, arrays)
        _, tangent = jax.jvp(
            jax.jit(functools.partial(ops.instance_head, implementation='reference')), operands, operands
        )
    g = cotangent(arrays)
    _, gradients = oracle(*arrays, g)
    pairs = zip(jax.tree.leaves(gradients), jax.tree.leaves(arrays), strict=True)
    np.testing.assert_allclose((np.asarray(tangent) * g).sum(), sum((d * a).sum() for d, a in pairs), rtol=1e-10)


def test_the_choice_is_by_the_number_of_weights():
    def chosen(hidden):
        weights = [jax.ShapeDtypeStruct((1, 1, *shape), 'float32') for shape in ((10, hidden), (hidden, 1))]
        biases = [jax.ShapeDtypeStruct((1, 1, n), 'float32') for n in (hidden, 1)]
        features = jax.ShapeDtypeStruct((1, 100, 168, 10), 'float32')
        return ops.explain(ops.instance_head, features, weights, biases).chosen['cpu']

    assert chosen(8) == 'unrolled' and chosen(100) == 'products'


@pytest.mark.parametrize(('form', 'results'), [('unrolled', 0), ('products', 2), ('gradient', 4)])
def test_memory_is_that_of_blocks(form, results):
    """Temporary memory in units of the logits: a hidden layer of the network would be 8 of them."""
    arrays = jax.tree.map(jnp.asarray, make((10, 8, 8, 1), batch=1, instances=100, height=100, width=168, dtype='f4'))
    gradient = jax.grad(functools.partial(loss, None))
    function = gradient if form == 'gradient' else lambda a: ops.instance_head(*a, implementation=form)
    memory = jax.jit(function).lower(arrays).compile().memory_analysis().temp_size_in_bytes
    assert memory <= (results + 0.1) * 4 * 100 * 100 * 168


@pytest.mark.parametrize('mode', ['plain', 'auto', 'explicit'])
def test_batch_sharded_programs_hold_no_collective(mode):
    arrays = jax.tree.map(jnp.asarray, make(batch=8, dtype='float32'))
    kind = AxisType.Explicit if mode == 'explicit' else AxisType.Auto
    mesh = jax.make_mesh((8,), ('data',), axis_types=(kind,))
    g = cotangent(arrays, 'float32')
    wanted = oracle(*arrays, g)
    for form in ('unrolled', 'products'):
        program = functools.partial(both, form)
        if mode == 'plain':
            sharding = NamedSharding(mesh, P('data'))
            compiled = jax.jit(program, in_shardings=sharding).lower(arrays, g).compile()
            actual = compiled(*jax.device_put((arrays, g), sharding))
        else:
            with jax.set_mesh(mesh):
                operands = jax.device_put((arrays, g), P('data'))
                compiled = jax.jit(program).lower(*operands).compile()
                actual = compiled(*operands)
        assert collectives(compiled) == {}
        assert jax.tree.leaves(actual)[0].sharding.spec[0] == 'data'
        all_close(actual, wanted, BOUND['float32'])


def test_inside_a_users_shard_map():
    arrays = make(batch=8, dtype='float32')
    g = cotangent(arrays, 'float32')
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(functools.partial(both, None), mesh=mesh, in_specs=P('data'), out_specs=P('data'))
    all_close(fast_jit(mapped)(arrays, g), oracle(*arrays, g), BOUND['float32'])


@pytest.mark.parametrize('form', [None, 'products'])
def test_symbolic_batch(form):
    symbolic = export.symbolic_shape('b')
    arrays = make(dtype='float32')
    g = cotangent(arrays, 'float32')
    signature = jax.tree.map(lambda a: jax.ShapeDtypeStruct((*symbolic, *a.shape[1:]), a.dtype), (arrays, g))
    exported = export.export(jax.jit(functools.partial(both, form)))(*signature)
    all_close(exported.call(arrays, g), oracle(*arrays, g), BOUND['float32'])


@pytest.mark.parametrize('total', [1, 128, 997, 16800])
@pytest.mark.parametrize('rows', [(0, 8), (500, 8)])
def test_blocks_cover_the_pixels(total, rows):
    blocks = _blocks.Blocks.of(total, rows, _blocks.TARGET_ON_CPU)
    assert blocks.count * blocks.size >= total > (blocks.count - 1) * blocks.size
    pixels = jnp.arange(1.0, total + 1)[None]
    taken = jnp.stack([blocks.take(blocks.pad(pixels), i) for i in range(blocks.count)])
    np.testing.assert_array_equal(blocks.join(taken), pixels)


def test_blocks_are_larger_where_there_is_no_cache_to_fill():
    arrays = make((10, 8, 8, 1), batch=1, instances=100, height=100, width=168, dtype='f4')

    def loops(platform):
        traced = jax.jit(functools.partial(ops.instance_head, implementation='products')).trace(*arrays)
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        return [int(n) for n in re.findall(r'stablehlo.constant dense<(\d+)> : tensor<i32>', text)]

    assert 28 in loops('cpu') and 28 not in loops('tpu')


def test_split_parameters_in_the_published_layout():
    """[w0 (out, in) | w1 | w2 | b0 | b1 | b2]: every element says where it belongs."""
    vector = jnp.arange(169.0)
    (w0, w1, w2), (b0, b1, b2) = ops.split_parameters(vector)
    assert w0.shape == (10, 8) and w0[3, 2] == 2 * 10 + 3
    assert w1.shape == (8, 8) and w1[3, 2] == 80 + 2 * 8 + 3
    assert w2.shape == (8, 1) and w2[3, 0] == 144 + 3
    assert (b0[0], b1[0], b2[0]) == (152, 160, 168) and (b0.shape, b1.shape, b2.shape) == ((8,), (8,), (1,))
    for channels, count in (((8, 8, 8, 1), 153), ((18, 8, 8, 1), 233)):
        weights, biases = ops.split_parameters(jnp.ones((2, 3, count)), channels)
        assert sum(a.size for a in (*weights, *biases)) == 2 * 3 * count


def test_split_parameters_refuses():
    with pytest.raises(TypeError, match=r'^vector: expected a floating dtype, got int32'):
        ops.split_parameters(jnp.ones(169, 'int32'))
    message = (
        r'^vector: expected shape \(\.\.\., G\) with G = 169 parameters for channels \(10, 8, 8, 1\), got shape \(2'
    )
    with pytest.raises(ValueError, match=message):
        ops.split_parameters(jnp.ones((2, 168)))
    for channels in ((10,), (10, 0), (10, 8.0)):
        with pytest.raises(ValueError, match=r'^channels: expected at least two ints >= 1, got \(10'):
            ops.split_parameters(jnp.ones(169), channels)
    with pytest.raises(ValueError, match=r'^channels: expected at least two ints >= 1, got 8'):
        ops.split_parameters(jnp.ones(169), 8)


@pytest.mark.parametrize('layers', [None, jnp.ones((2, 3, 5, 4))])
def test_layers_must_be_a_list(layers):
    with pytest.raises(TypeError, match=r'^weights: expected a list of arrays, one per layer, got '):
        ops.instance_head(jnp.ones((2, 4, 5, 3)), layers, [jnp.ones((2, 3, 4))])
    with pytest.raises(TypeError, match=r'^biases: expected a list of arrays, one per layer, got '):
        ops.instance_head(jnp.ones((2, 4, 5, 3)), [jnp.ones((2, 3, 3, 4))], layers)


def call(features=(2, 4, 5, 3), weights=((2, 3, 5, 4), (2, 3, 4, 1)), biases=((2, 3, 4), (2, 3, 1)), **options):
    arrays = {'locations': (2, 3, 2), 'scales': (2, 3)} | options
    arrays = {n: jnp.ones(v) if isinstance(v, tuple) else v for n, v in arrays.items()}
    weights, biases = ([jnp.ones(shape) for shape in shapes] for shapes in (weights, biases))
    return ops.instance_head(jnp.ones(features), weights, biases, **arrays)


ERRORS = {
    'rank_of_features': (
        {'features': (4, 5, 3)},
        r'features: expected 4 dimensions \(B, H, W, Cm\), got shape \(4, 5, 3\)',
    ),
    'no_layer': (
        {'weights': (), 'biases': ()},
        'weights, biases: expected one of each per layer, at least one, got 0 and 0',
    ),
    'number_of_biases': ({'biases': ((2, 3, 4),)}, r'weights, biases: expected one of each per layer.*got 2 and 1'),
    'rank_of_weights': (
        {'weights': ((2, 3, 5, 4), (2, 3, 4))},
        r'weights\[1\]: expected 4 dimensions \(B, N, Cin, Cout\), got shape \(2, 3, 4\)',
    ),
    'batch': (
        {'features': (1, 4, 5, 3)},
        r'weights\[0\]: expected a batch of 1 as in features, got shape \(2, 3, 5, 4\)',
    ),
    'channels_of_features': (
        {'features': (2, 4, 5, 8)},
        r'weights\[0\]: expected Cin = 10 \(Cm \+ 2 coordinates\), got shape \(2, 3, 5, 4\)',
    ),
    'channels_without_coordinates': (
        {'locations': None, 'scales': None},
        r'weights\[0\]: expected Cin = 3 \(Cm\), got shape \(2, 3, 5, 4\)',
    ),
    'channels_of_a_layer': (
        {'weights': ((2, 3, 5, 4), (2, 3, 5, 1))},
        r'weights\[1\]: expected Cin = 4 \(Cout of weights\[0\]\), got shape \(2, 3, 5, 1\)',
    ),
    'instances': (
        {'weights': ((2, 3, 5, 4), (2, 7, 4, 1))},
        r'weights\[1\]: expected shape \(B, N, Cin, Cout\) = \(2, 3, 4, 1\), got \(2, 7, 4, 1\)',
    ),
    'biases': (
        {'biases': ((2, 3, 4), (2, 1))},
        r'biases\[1\]: expected shape \(B, N, Cout\) = \(2, 3, 1\), got \(2, 1\)',
    ),
    'output_channels': (
        {'weights': ((2, 3, 5, 4),), 'biases': ((2, 3, 4),)},
        r'weights\[0\]: expected one output channel, Cout = 1, got 4',
    ),
    'no_locations': ({'locations': None, 'features': (2, 4, 5, 5)}, 'locations: expected an array because scales is'),
    'no_scales': ({'scales': None}, 'scales: expected an array because locations is given, got None'),
    'locations': ({'locations': (2, 3)}, r'locations: expected shape \(B, N, 2\) = \(2, 3, 2\), got \(2, 3\)'),
    'scales': ({'scales': (2, 3, 1)}, r'scales: expected shape \(B, N\) = \(2, 3\), got \(2, 3, 1\)'),
    'stride': ({'stride': 0}, 'stride: expected an int >= 1, got 0'),
    'implementation': (
        {'implementation': 'fast'},
        r"implementation: expected None, an Autotune or one of \['products', 'reference', 'unrolled'\], got 'fast'",
    ),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_name_the_argument(case):
    options, message = ERRORS[case]
    with pytest.raises(ValueError, match=f'^{message}'):
        call(**options)


def test_the_call_of_the_errors_is_right():
    assert call().shape == (2, 3, 4, 5)


@pytest.mark.parametrize('name', ['features', 'weights', 'biases', 'locations', 'scales'])
def test_only_floating_arrays(name):
    names = ('features', 'weights', 'biases', 'locations', 'scales')
    arrays = dict(zip(names, make(dtype='float32'), strict=True))
    arrays[name] = jax.tree.map(lambda a: a.astype('int32'), arrays[name])
    index = r'\[0\]' if name in ('weights', 'biases') else ''
    with pytest.raises(TypeError, match=f'^{name}{index}: expected a floating dtype, got int32'):
        ops.instance_head(**arrays)
