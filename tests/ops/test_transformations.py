"""jit, vmap, checkpoint, gradients of gradients and forward mode, for every form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.ops.cases import ALL_SCALES
from tests.ops.cases import case as make
from tests.ops.operators import (
    OPERATORS,
    every_fast_form,
    every_form,
    every_named_form,
    every_operator,
    expected,
    fast_jit,
    output_and_gradients,
)
from tests.tolerances import BOUND, SAME_DTYPE, assert_close, distance
from tests.x64 import x64

# Small enough for numerical differences, and so that the library's own choice has an own gradient.
TINY = {
    'per_sample_conv': make('tiny', (3, 2), (2, 2), cin=2, cout=2, strides=(2, 1)),
    'mixture_conv': make('tiny', (3,), (2,), cin=2, cout=2, scales=ALL_SCALES),
    'per_position_conv': make('tiny', (3, 2), (2, 1), cin=4, count=2, strides=(2, 1)),
}


@every_form
def test_without_jit(operator, form):
    (case,) = operator.representative(form, 1)
    operands = operator.operands(case, 'float32')
    eager = operator.call(case, form, operands)
    assert_close(eager, expected(operator.name, case.name, 'float32')[0])
    compiled = jax.jit(lambda operands: operator.call(case, form, operands))(operands)
    assert distance(eager, compiled) <= SAME_DTYPE['float32']


@every_named_form
def test_vmap_over_an_extra_axis(operator, form):
    # Gradients inside and outside the vmap; in the second, kernels and all other operands than x are shared.
    (case,) = operator.representative(form, 1)
    seeds = (0, 7)
    operands = [operator.operands(case, 'float32', seed) for seed in seeds]
    results = [expected(operator.name, case.name, 'float32', seed) for seed in seeds]
    stacked = {name: np.stack([o[name] for o in operands]) for name in operands[0]}
    g = np.stack([g for _, g, _ in results])

    @fast_jit
    def mapped(stacked, g):
        def one(operands, g):
            return output_and_gradients(operator, case, form, operands, g)

        rest = {name: array[0] for name, array in stacked.items() if name != 'x'}

        def shared(x, rest):
            return jax.vmap(lambda x: operator.call(case, form, rest | {'x': x}))(x)

        y, pull = jax.vjp(shared, stacked['x'][:1].repeat(2, 0), rest)
        return jax.vmap(one)(stacked, g), (y, pull(g))

    (y, gradients), (shared_y, (dx, drest)) = mapped(stacked, g)
    assert_close(y, np.stack([y for y, _, _ in results]))
    for name in operands[0]:
        assert_close(gradients[name], np.stack([wanted[name] for _, _, wanted in results]))
    assert_close(shared_y, np.stack([results[0][0]] * 2))
    wanted = [operator.gradients(**operands[0], g=cotangent, **case.options) for cotangent in g]
    assert_close(dx, np.stack([w['x'] for w in wanted]))
    for name in drest:
        assert_close(drest[name], sum(w[name] for w in wanted))


@every_named_form
def test_checkpoint(operator, form):
    (case,) = operator.representative(form, 1)
    operands = operator.operands(case, 'float32')
    _, g, wanted = expected(operator.name, case.name, 'float32')

    @fast_jit
    @jax.grad
    def gradient(operands):
        return jnp.vdot(jax.checkpoint(lambda operands: operator.call(case, form, operands))(operands), g)

    for name, actual in gradient(operands).items():
        assert_close(actual, wanted[name])


@functools.cache
def second_order(name, case_name, form):
    """The gradient, by operands and by directions, of <directions, gradient of sum(y^3)>; in float64."""
    operator = OPERATORS[name]
    case = operator.case(case_name)

    def slope(operands, directions):
        gradient = jax.grad(lambda operands: (operator.call(case, form, operands) ** 3).sum())(operands)
        return sum(jnp.vdot(gradient[name], directions[name]) for name in gradient)

    with x64():
        return fast_jit(jax.grad(slope, argnums=(0, 1)))(*(operator.operands(case, 'float64', s) for s in (0, 5)))


@every_fast_form
def test_gradient_of_gradient_is_that_of_the_definition(operator, form):
    wrong = []
    for case in operator.representative(form):
        actual, wanted = (second_order(operator.name, case.name, f) for f in (form, 'reference'))
        for which in (0, 1):
            for name in wanted[which]:
                if not (d := distance(actual[which][name], wanted[which][name])) <= BOUND['float64']:
                    wrong.append(f'{case.name}, {name}: {d:.2g}')
    assert not wrong


@pytest.mark.parametrize('form', [None, 'reference'])
@every_operator
def test_first_and_second_derivatives_are_numerical_ones(operator, form):
    case = TINY[operator.name]
    function = jax.jit(lambda operands: operator.call(case, form, operands))
    with x64():
        check_grads(function, (operator.operands(case, 'float64'),), order=2, modes=['rev'], rtol=1e-6, atol=1e-6)


@every_operator
def test_forward_mode_of_the_definition(operator):
    (case,) = operator.representative('reference', 1)
    operands, tangents = (operator.operands(case, 'float64', seed) for seed in (0, 5))
    with x64():
        function = fast_jit(lambda o, t: jax.jvp(lambda o: operator.call(case, 'reference', o), (o,), (t,)))
        y, dy = function(operands, tangents)
    # The operator is linear in every single operand.
    slopes = [operator.forward(**(operands | {name: tangents[name]}), **case.options) for name in operands]
    assert_close(y, expected(operator.name, case.name, 'float64')[0])
    assert_close(dy, sum(slopes))


def test_hessian_of_the_definition():
    operator = OPERATORS['per_position_conv']
    case = TINY[operator.name]
    operands = operator.operands(case, 'float64')
    with x64():

        def f(x):
            return 0.5 * (operator.call(case, 'reference', operands | {'x': x}) ** 2).sum()

        jacobian = fast_jit(jax.jacrev(lambda x: operator.call(case, 'taps', operands | {'x': x})))(operands['x'])
        hessian = fast_jit(jax.hessian(f))(operands['x'])
    matrix = np.asarray(jacobian).reshape(-1, operands['x'].size)
    assert_close(np.reshape(hessian, (operands['x'].size,) * 2), matrix.T @ matrix)


@every_fast_form
def test_forward_mode_is_refused_with_own_gradients(operator, form):
    (case,) = operator.representative(form, 1)
    operands = operator.operands(case, 'float32')
    with pytest.raises(TypeError, match='forward-mode'):
        jax.jvp(lambda operands: operator.call(case, form, operands), (operands,), (operands,))


@every_fast_form
def test_the_backward_pass_keeps_the_operands_only(operator, form):
    """No patches, no mixed kernels: without channel scales what is kept between the passes is what came in."""
    names = {'mixture_conv': ['plain', 'depthwise_multiplier']}.get(operator.name)
    cases = [operator.case(name) for name in names] if names else operator.representative(form)
    (case, *_) = [case for case in cases if not operator.declined(form, case)]
    operands = operator.operands(case, 'float32')
    _, pull = jax.vjp(lambda operands: operator.call(case, form, operands), operands)
    kept = sorted(leaf.shape for leaf in jax.tree.leaves(pull))
    assert kept == sorted(array.shape for array in operands.values())
