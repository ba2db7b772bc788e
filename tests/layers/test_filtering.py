"""The two filtering layers of Dynamic Filter Networks against their definition, golden numbers and each other."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flax_dynconv.layers import DynamicFiltering, LocalFiltering
from flax_dynconv.models import count
from tests.golden.loader import Golden
from tests.models.tiny import quick
from tests.tolerances import assert_close
from tests.x64 import x64

LAYERS = {'dynamic': DynamicFiltering, 'local': LocalFiltering}
# Spatial size, kernel size, channels and further fields.
CASES = {
    'one channel': ((6, 5), (3, 5), 1, {}),
    'one channel, softmax, bias': ((6, 5), (5, 3), 1, {'softmax': True, 'bias': True}),
    'horizontal, bias': ((4, 9), (1, 7), 1, {'bias': True}),
    'sum': ((5, 4), (3, 3), 3, {}),
    'sum, softmax, bias': ((5, 4), (3, 1), 3, {'softmax': True, 'bias': True}),
    'sum, two features': ((4, 4), (3, 3), 2, {'features': 2, 'bias': True}),
    'one channel, two features': ((4, 4), (3, 3), 1, {'features': 2, 'softmax': True}),
    'shared': ((5, 4), (3, 3), 5, {'channels': 'shared', 'bias': True}),
    'shared, softmax': ((5, 4), (3, 3), 3, {'channels': 'shared', 'softmax': True}),
    'own': ((5, 4), (3, 3), 4, {'channels': 'own', 'bias': True}),
    'own, softmax': ((5, 4), (3, 3), 2, {'channels': 'own', 'softmax': True}),
    'one dimension, softmax': ((9,), 5, 2, {'softmax': True, 'bias': True}),
    'three dimensions': ((3, 4, 3), (3, 1, 3), 2, {'channels': 'own'}),
}


def draw(kind, spatial, size, in_features, fields, dtype=np.float64, batch=2):
    r = np.random.default_rng(len(spatial) + in_features)
    layer = LAYERS[kind](size, **fields)
    lead = (batch, *spatial) if kind == 'local' else (batch,)
    x = r.standard_normal((batch, *spatial, in_features))
    return layer, x.astype(dtype), r.standard_normal((*lead, layer.filter_channels(in_features))).astype(dtype)


def run(layer):
    return quick(partial(layer.apply, {}))


def definition(x, filters, size, channels='sum', features=1, softmax=False, bias=False):
    """Loops over positions, taps and channels; filters (B, *spatial, N)."""
    size = (size,) if isinstance(size, int) else size
    (batch, *spatial, in_features), taps = x.shape, list(itertools.product(*map(range, size)))
    y = np.zeros((batch, *spatial, features if channels == 'sum' else in_features))
    per_output = len(taps) * (in_features if channels == 'sum' else 1)
    for b, *p in np.ndindex(batch, *spatial):
        vector = filters[(b, *p)]
        for o in range(y.shape[-1]):
            first = 0 if channels == 'shared' else o * per_output
            taps_of_o = vector[first : first + per_output]
            if softmax:
                taps_of_o = np.exp(taps_of_o) / np.exp(taps_of_o).sum()
            for i, c in enumerate(range(in_features) if channels == 'sum' else [o]):
                for t, offset in enumerate(taps):
                    q = tuple(a + d - k // 2 for a, d, k in zip(p, offset, size, strict=True))
                    if all(0 <= a < n for a, n in zip(q, spatial, strict=True)):
                        added = filters[(b, *q)][-1] if bias else 0.0
                        y[(b, *p, o)] += taps_of_o[i * len(taps) + t] * (x[(b, *q, c)] + added)
    return y


@pytest.mark.parametrize(
    ('kind', 'name'),
    [*(('local', name) for name in CASES), *(('dynamic', name) for name in list(CASES)[2:] if ',' in name)],
)
def test_the_definition_and_gradients(kind, name):
    spatial, size, _, fields = CASES[name]
    layer, x, filters = draw(kind, *CASES[name])

    def spread(filters):
        if kind == 'local':
            return filters
        return np.broadcast_to(filters[(slice(None), *(None,) * len(spatial))], (2, *spatial, filters.shape[-1]))

    y = definition(x, spread(filters), size, **fields)
    r = np.random.default_rng(3)
    cotangent, *directions = (r.standard_normal(np.shape(a)) for a in (y, x, filters))

    def loss(x, filters):
        found = layer.apply({}, x, filters)
        return (found * cotangent).sum(), found

    with x64():
        (_, found), gradients = quick(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(x, filters)
        assert found.dtype == jnp.float64
        assert_close(found, y, 'float64')
    for i, (gradient, direction) in enumerate(zip(gradients, directions, strict=True)):
        # The definition's central difference; it is linear in x and smooth in the filters.
        moved = [[x + (i == 0) * s * directions[0], filters + (i == 1) * s * directions[1]] for s in (1e-5, -1e-5)]
        up, down = ((definition(a, spread(b), size, **fields) * cotangent).sum() for a, b in moved)
        assert (np.asarray(gradient) * direction).sum() == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-7)


FIELDS = {
    'dfn_local_filter_9x9': {'kernel_size': (9, 9), 'softmax': True},
    'dfn_local_filter_1x13_bias': {'kernel_size': (1, 13), 'softmax': True, 'bias': True},
    'dfn_local_filter_multichannel': {'kernel_size': (3, 3)},
}


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('name', FIELDS)
def test_golden_outputs_and_gradients(name, dtype):
    golden, layer = Golden(name), LocalFiltering(**FIELDS[name])

    def loss(x, filters):
        y = layer.apply({}, x, filters)
        return (y * jnp.asarray(np.moveaxis(golden.cotangent, 1, -1), dtype)).sum(), y

    with jax.enable_x64(dtype == 'float64'), jax.default_matmul_precision('highest'):
        x, filters = (jnp.asarray(np.moveaxis(a, 1, -1), dtype) for a in golden.inputs.values())
        (_, y), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(x, filters)
    found = {'out': y, 'grad.x': gradients[0], 'grad.filters': gradients[1]}
    for key, array in found.items():
        assert array.dtype == dtype
        bound = golden.bound('eval', key) if dtype == 'float32' else 1e-9
        assert np.abs(np.moveaxis(np.asarray(array, np.float64), -1, 1) - golden.arrays[key]).max() <= bound, key


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('fields', [{}, {'channels': 'own'}, {'features': 2, 'bias': True}], ids=str)
def test_softmaxed_taps_sum_to_one(fields, dtype):
    layer = LocalFiltering((3, 3), softmax=True, **fields)
    filters = 5 * np.random.default_rng(0).standard_normal((2, 4, 4, layer.filter_channels(3)))
    taps = quick(lambda filters: layer.apply({}, filters, 3, method='taps'))(jnp.asarray(filters, dtype))
    assert taps.dtype == jnp.float32 and (taps >= 0).all()
    filters_of_a_position = {'sum': layer.features, 'own': 3}[layer.channels]
    np.testing.assert_allclose(taps.reshape(2, 4, 4, filters_of_a_position, -1).sum(-1), 1.0, rtol=1e-6)
    filters[..., 27 * layer.features :] = 0.0
    y = run(layer)(jnp.ones((2, 4, 4, 3)), jnp.asarray(filters, jnp.float32))
    # Inside the image a mean of ones is one; at its edge part of the mean is of zeros.
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], 1.0, rtol=1e-5)
    assert (y[:, 0] < 1).all()


def test_the_bias_is_added_before_filtering_and_not_to_the_padding():
    """A filter that shifts by one pixel brings in zeros from outside, and the bias of the pixel that it reads."""
    shift, bias = np.zeros((1, 4, 4, 10), np.float32), np.arange(16.0).reshape(4, 4)
    shift[..., 3] = 1.0  # (1, 0): the neighbour on the left
    shift[..., 9] = bias
    x = jnp.full((1, 4, 4, 1), 100.0)
    y = run(LocalFiltering((3, 3), bias=True))(x, shift)[0, :, :, 0]
    np.testing.assert_array_equal(y[:, 1:], 100 + bias[:, :-1])
    np.testing.assert_array_equal(y[:, 0], 0.0)
    y = run(DynamicFiltering((3, 3), bias=True))(x, shift[:, 1, 2])[0, :, :, 0]
    np.testing.assert_array_equal(y[:, 1:], 106.0)
    np.testing.assert_array_equal(y[:, 0], 0.0)


def test_taps_are_channel_major_and_row_major():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 5, 5, 3)), jnp.float32)
    filters = np.zeros((1, 27), np.float32)
    filters[0, 2 * 9 + 1 * 3 + 0] = 1.0  # channel 2, row 1 (the middle one), column 0
    y = run(DynamicFiltering((3, 3)))(x, filters)
    np.testing.assert_array_equal(y[0, :, 1:, 0], x[0, :, :-1, 2])


def test_equal_filters_everywhere_are_the_dynamic_convolution():
    _, x, filters = draw('dynamic', (6, 5), (3, 3), 2, {})
    everywhere = np.broadcast_to(filters[:, None, None], (2, 6, 5, 18))
    assert_close(run(LocalFiltering((3, 3)))(x, everywhere), run(DynamicFiltering((3, 3)))(x, filters))


@pytest.mark.parametrize('kind', LAYERS)
def test_dtypes(kind):
    layer, x, filters = draw(kind, (5, 4), (3, 3), 2, {'softmax': True, 'bias': True}, np.float32)
    apply = run(layer)
    exact = apply(x, filters)
    half = run(layer.clone(dtype=jnp.bfloat16))(x, filters)
    assert half.dtype == jnp.bfloat16
    assert_close(half, exact, 'bfloat16')
    halves = apply(jnp.asarray(x, jnp.bfloat16), jnp.asarray(filters, jnp.bfloat16))
    assert halves.dtype == jnp.bfloat16
    assert_close(halves, exact, 'bfloat16')
    assert_close(apply(np.ones_like(x, np.uint8), filters), apply(np.ones_like(x), filters), 'float32')
    mixed = jax.eval_shape(partial(layer.apply, {}), jnp.asarray(x, jnp.bfloat16), filters)
    assert mixed.dtype == jnp.float32


@pytest.mark.parametrize('kind', LAYERS)
def test_large_logits_keep_their_differences_in_bfloat16(kind):
    """The softmax is of the logits as they came: 1000, 1001 and 1002 are all 1000 in bfloat16."""
    layer = LAYERS[kind]((1, 3), softmax=True, dtype=jnp.bfloat16)
    logits = np.asarray([1000.0, 1001.0, 1002.0], np.float32)
    filters = logits[None] if kind == 'dynamic' else np.broadcast_to(logits, (1, 1, 3, 3))
    y = run(layer)(np.asarray([0.0, 0.0, 1.0], np.float32).reshape(1, 1, 3, 1), filters)
    assert y.dtype == jnp.bfloat16
    weights = np.exp([-2.0, -1.0, 0.0])
    assert float(y[0, 0, 1, 0]) == pytest.approx(1 / weights.sum(), rel=2**-7)


@pytest.mark.parametrize('kind', LAYERS)
def test_vmap_and_implementations(kind):
    layer, x, filters = draw(kind, (5, 4), (3, 3), 2, {'softmax': True, 'bias': True}, np.float32, batch=4)
    y = run(layer)(x, filters)
    for name in ('reference', 'patches'):
        assert_close(run(layer.clone(implementation=name))(x, filters), y)
    pairs = (a.reshape(2, 2, *a.shape[1:]) for a in (x, filters))
    assert_close(quick(jax.vmap(partial(layer.apply, {})))(*pairs).reshape(y.shape), y)
    with pytest.raises(ValueError, match='implementation: expected'):
        layer.clone(implementation='quick').apply({}, x, filters)


@pytest.mark.parametrize('kind', LAYERS)
def test_export_for_any_batch(kind):
    layer, x, filters = draw(kind, (5, 4), (3, 3), 2, {'softmax': True, 'bias': True}, np.float32, batch=3)
    (b,) = export.symbolic_shape('b')
    signature = (jax.ShapeDtypeStruct((b, *a.shape[1:]), a.dtype) for a in (x, filters))
    exported = export.export(jax.jit(partial(layer.apply, {})))(*signature)
    assert_close(quick(exported.call)(x, filters), run(layer)(x, filters))


def test_the_cost_is_a_multiply_add_for_each_tap_of_each_output():
    x, filters = jnp.ones((2, 6, 5, 3)), jnp.ones((2, 6, 5, 27))
    assert count(LocalFiltering((3, 3)), x, filters).multiply_adds == 6 * 5 * 27
    assert count(LocalFiltering((3, 3), channels='own'), x, filters).multiply_adds == 6 * 5 * 27
    assert count(LocalFiltering((3, 3), channels='shared'), x, filters[..., :9]).multiply_adds == 6 * 5 * 27
    assert count(DynamicFiltering((3, 3), features=2), x, jnp.ones((2, 54))).multiply_adds == 6 * 5 * 54


X = jnp.ones((2, 6, 5, 3))
ERRORS = [
    (LocalFiltering((4, 3)), X, (2, 6, 5, 36), r'kernel_size: expected an odd int or odd ints, .* got \(4, 3\)'),
    (LocalFiltering('3x3'), X, (2, 6, 5, 27), r"kernel_size: expected .* got '3x3'"),
    (LocalFiltering(3), X, (2, 6, 5, 9), r'kernel_size: expected a tuple of 2 ints, such as \(3, 3\)'),
    (LocalFiltering((3, 3)), X[0], (2, 6, 5, 27), r'x: expected 4 dimensions .*, got shape \(6, 5, 3\)'),
    (LocalFiltering((3, 3)), X, (2, 27), r'filters: expected shape .* = \(2, 6, 5, .N.\), got \(2, 27\)'),
    (LocalFiltering((3, 3)), X, (2, 5, 5, 27), r'filters: expected shape .* got \(2, 5, 5, 27\)'),
    (DynamicFiltering((3, 3)), X, (2, 6, 5, 27), r'filters: expected shape \(B, N\) = \(2, .N.\), got \(2, 6, 5, 27\)'),
    (LocalFiltering((3, 3)), X, (2, 6, 5, 9), r'expected 3 \* 3 \* 3 channels = 27 filter channels, got 9'),
    (LocalFiltering((3, 3), bias=True), X, (2, 6, 5, 27), r'\+ 1 \(the bias\) = 28 filter channels, got 27'),
    (LocalFiltering((3, 3), features=2), X, (2, 6, 5, 27), r'3 channels \* 2 features = 54 filter channels, got 27'),
    (DynamicFiltering((3, 3), channels='shared'), X, (2, 27), r'expected 3 \* 3 = 9 filter channels, got 27'),
    (DynamicFiltering((3, 3), channels='each'), X, (2, 27), r"channels: expected one of .*'own'.*, got 'each'"),
    (DynamicFiltering((3, 3), channels='own', features=2), X, (2, 27), r"features: .* got 2 with channels='own'"),
]


@pytest.mark.parametrize(('layer', 'x', 'shape', 'message'), ERRORS)
def test_errors(layer, x, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.apply({}, x, jnp.ones(shape))
