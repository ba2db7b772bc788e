"""`ops.explain`: every operator, its own errors, nothing computed."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from flax_dynconv import ops
from flax_dynconv.ops.choice import choosing
from tests.ops.operators import every_operator

X, KERNELS, WEIGHTS = (8, 14, 14, 16), (4, 3, 3, 16, 16), (8, 4)


def struct(*shape, dtype='float32'):
    return jax.ShapeDtypeStruct(shape, dtype)


def mixture(**options):
    return ops.explain(ops.mixture_conv, struct(*X), struct(*KERNELS), struct(*WEIGHTS), **options)


@every_operator
def test_every_case_of_every_operator_is_explained(operator):
    for case in operator.cases:
        operands = operator.operands(case, 'float32')
        told = ops.explain(operator.function, **operands, **case.options)
        shapes = {name: struct(*array.shape) for name, array in operands.items()}
        assert told == ops.explain(operator.function, **shapes, **case.options)
        assert told.declines.keys() == {form for form in operator.forms if operator.declined(form, case)}
        able = operator.forms.keys() - told.declines.keys()
        for platform, form in told.chosen.items():
            assert form in able
            assert told.forward[platform].keys() == told.gradient[platform].keys() == able


def test_the_head_is_explained():
    weights, biases = ops.split_parameters(jnp.ones((2, 5, 169)))
    told = ops.explain(ops.instance_head, jnp.ones((2, 12, 16, 8)), weights, biases, struct(2, 5, 2), struct(2, 5))
    assert told.chosen['cpu'] in ('unrolled', 'products') and told.declines == {}


def test_what_is_said_is_what_runs():
    x, kernels, weights = jnp.ones(X), jnp.ones(KERNELS), jnp.ones(WEIGHTS)
    form = ops.explain(ops.mixture_conv, x, kernels, weights).here

    def program(implementation):
        function = jax.jit(lambda *a: ops.mixture_conv(*a, implementation=implementation))
        return re.sub('#loc.*|@jit.* ', '', function.lower(x, kernels, weights).as_text())

    assert program(None).count('dot_general') == program(form).count('dot_general')
    assert program(None).count('convolution') == program(form).count('convolution')


def test_the_table_has_every_form_and_reason():
    told = mixture(tap_scale=struct(8, 3, 3))
    text = str(told)
    for form in ('patches', 'loop', 'features_in', 'reference'):
        assert re.search(rf'^ +{form}( +[\d.e+-]+){{6}}$', text, re.MULTILINE), form
    assert 'features_out declines: features_out cannot apply tap_scale' in text
    assert re.search(f'cpu: {told.chosen["cpu"]}(, gradients by [a-z]+)?: the least predicted time', text)
    candidates = ('patches', 'loop', 'blocks', 'columns')
    forward, gradient = told.forward['cpu'], told.gradient['cpu']
    assert forward[told.chosen['cpu']] == min(forward[form] for form in candidates)
    backward = {form: gradient[form] - forward[form] for form in candidates}
    assert backward[told.backward['cpu']] == pytest.approx(min(backward.values()))


def test_forms_of_two_passes_are_both_named(monkeypatch):
    names = {'forward': 'loop', 'backward': 'blocks'}
    chosen = choosing.chosen

    def apart(case, autotune=None, passes='both'):
        return chosen(case, autotune, passes) | ({'cpu': names[passes]} if passes in names else {})

    monkeypatch.setattr(choosing, 'chosen', apart)
    told = mixture()
    assert (told.chosen['cpu'], told.backward['cpu']) == ('loop', 'blocks')
    assert '  cpu: loop, gradients by blocks: the least predicted time of each pass' in str(told)


def test_a_name_is_taken_at_its_word():
    told = mixture(implementation='patches')
    assert set(told.chosen.values()) == {'patches'} and set(told.reasons.values()) == {'asked for by name'}


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        mixture().operator = 'other'


def test_errors_are_those_of_the_operator():
    with pytest.raises(ValueError, match=r'weights: expected shape \(B, K\) = \(8, 4\), got \(8, 3\)'):
        ops.explain(ops.mixture_conv, struct(*X), struct(*KERNELS), struct(8, 3))
    with pytest.raises(ValueError, match=r"implementation: expected None, an Autotune or one of .*, got 'fast'"):
        mixture(implementation='fast')
    with pytest.raises(NotImplementedError, match="implementation 'taps' cannot do this case"):
        mixture(implementation='taps')
    with pytest.raises(ValueError, match='padding: expected amounts >= 0'):
        mixture(padding=-1, padding_mode='reflect')
    with pytest.raises(TypeError, match="missing a required argument: 'weights'"):
        ops.explain(ops.mixture_conv, struct(*X), struct(*KERNELS))
    with pytest.raises(TypeError, match=r'operator: expected one of ops.instance_head, .*got <built-in'):
        ops.explain(len, struct(*X))
