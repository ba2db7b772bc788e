"""The temperature: where it is, what it divides, and that changing it compiles nothing anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze

from flax_dynconv.layers import DynamicConvRouting, ODConv, ODConvRouting, set_temperature
from tests.layers.common import init, inputs
from tests.tolerances import assert_close

POOLED = inputs((2, 6))
ROUTINGS = [DynamicConvRouting(), ODConvRouting(6, (3, 3))]
routings = pytest.mark.parametrize('routing', ROUTINGS, ids=lambda r: type(r).__name__)


def at(variables, value):
    return set_temperature(variables, value)


@routings
def test_created_as_one_and_absent_means_one(routing):
    variables = jax.eval_shape(routing.init, jax.random.key(0), POOLED)
    assert variables['temperature']['value'].shape == ()
    assert variables['temperature']['value'].dtype == jnp.float32
    np.testing.assert_array_equal(DynamicConvRouting().init(jax.random.key(0), POOLED)['temperature']['value'], 1.0)
    variables = init(routing, POOLED)
    absent = {name: tree for name, tree in variables.items() if name != 'temperature'}
    for a, b in zip(routing.apply(absent, POOLED), routing.apply(at(variables, 1.0), POOLED), strict=True):
        np.testing.assert_array_equal(a, b)


def test_init_without_the_collection_works():
    variables = DynamicConvRouting().init(jax.random.key(0), POOLED, mutable=['params'])
    assert set(variables) == {'params'}


def test_divides_the_logits_of_all_attentions_biases_included():
    routing = ODConvRouting(6, (3, 3))
    variables = init(routing, POOLED)
    warm, cold = (routing.apply(at(variables, t), POOLED) for t in (5.0, 1.0))
    for name in ('channel', 'filter', 'spatial'):
        logits = [np.log(a / (1 - a)) for a in (getattr(warm, name), getattr(cold, name))]
        assert_close(5 * logits[0], logits[1], bound=1e-4)
    logits = [np.log(a) - np.log(a).mean(axis=1, keepdims=True) for a in (warm.kernel, cold.kernel)]
    assert_close(5 * logits[0], logits[1], bound=1e-4)


def test_set_everywhere_and_nothing_else():
    variables = {
        'params': {'a': jnp.ones(2)},
        'temperature': {'a': {'routing': {'value': jnp.ones(())}}, 'b': {'value': jnp.ones((3,), jnp.float32)}},
    }
    new = set_temperature(variables, 7)
    assert new['params'] is variables['params']
    assert float(new['temperature']['a']['routing']['value']) == 7
    np.testing.assert_array_equal(new['temperature']['b']['value'], [7, 7, 7])
    assert float(variables['temperature']['a']['routing']['value']) == 1
    frozen = set_temperature(freeze(variables), 7)
    assert type(frozen) is type(freeze({}))
    assert float(frozen['temperature']['a']['routing']['value']) == 7
    assert new['temperature']['b']['value'].dtype == jnp.float32


def test_a_schedule_compiles_once():
    layer, x = ODConv(2, (1, 1)), inputs((2, 2, 2, 6))
    variables, traces = init(layer, x), []

    @jax.jit
    def step(variables, value):
        traces.append(None)
        return layer.apply(set_temperature(variables, value), x)

    outputs = [step(variables, jnp.float32(t)) for t in (30.0, 10.0, 1.0)]
    assert len(traces) == 1
    assert_close(outputs[-1], layer.apply(at(variables, 1.0), x))
    assert not np.allclose(outputs[0], outputs[-1])


@pytest.mark.parametrize('value', ['30', None, [30.0]])
def test_what_is_no_number_is_refused(value):
    variables = {'temperature': {'routing': {'value': jnp.ones(())}}}
    with pytest.raises(ValueError, match='value: expected a number or an array, got'):
        set_temperature(variables, value)
