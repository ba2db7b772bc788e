"""Every form of every operator against the oracle: outputs, gradients with respect to all operands, refusals."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.operators import every_form, every_named_form, expected, fast_jit, output_and_gradients
from tests.tolerances import BOUND, distance
from tests.x64 import x64


def differences(operator, form, cases, dtype):
    """What is further from the oracle than the table allows, all cases in one compilation."""
    arguments = {c.name: (operator.operands(c, dtype), expected(operator.name, c.name, dtype)[1]) for c in cases}
    run = fast_jit(lambda a: {c.name: output_and_gradients(operator, c, form, *a[c.name]) for c in cases})
    results, wrong = run(arguments), []
    for name, (y, gradients) in results.items():
        expected_y, _, expected_gradients = expected(operator.name, name, dtype)
        if set(gradients) != set(expected_gradients):
            wrong.append(f'{name}: gradients of {sorted(gradients)}, expected {sorted(expected_gradients)}')
            continue
        pairs = {'output': (y, expected_y)} | {n: (gradients[n], expected_gradients[n]) for n in gradients}
        for what, (actual, wanted) in pairs.items():
            if actual.dtype != jnp.dtype(dtype):
                wrong.append(f'{name}, {what}: dtype {actual.dtype}')
            if not (d := distance(np.asarray(actual, np.float64), wanted)) <= BOUND[dtype]:
                wrong.append(f'{name}, {what}: distance {d:.2g} exceeds {BOUND[dtype]:.2g}')
    return wrong


@every_form
def test_every_case_in_float32(operator, form):
    # None only names one of the other forms: for it the cases between which it chooses are enough.
    cases = operator.representative(None, 9) if form is None else operator.cases
    cases = [case for case in cases if not operator.declined(form, case)]
    assert cases
    assert not differences(operator, form, cases, 'float32')


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float64'])
@every_named_form
def test_dtypes(operator, form, dtype):
    with x64() if dtype == 'float64' else contextlib.nullcontext():
        cases = operator.representative(form, 2 if dtype == 'bfloat16' else 1)
        assert not differences(operator, form, cases, dtype)


@every_form
def test_declines_exactly_the_cases_of_the_table(operator, form):
    unexpected = []
    for case in operator.cases:
        operands = operator.operands(case, 'float32')
        try:
            jax.eval_shape(lambda operands, case=case: operator.call(case, form, operands), operands)
            declined = False
        except NotImplementedError as error:
            declined = True
            assert repr(form) in str(error)
            assert operator.reason(form) in str(error)
        if declined != operator.declined(form, case):
            unexpected.append(f'{case.name}: {"declined" if declined else "accepted"}')
    assert not unexpected
