"""The operators under test with their oracles: one table, from which every test in this folder is driven.

A form that is added to an operator's IMPLEMENTATIONS is tested without a line of code here.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.ops.mixture_conv import IMPLEMENTATIONS as MIXTURE_FORMS
from flax_dynconv.ops.mixture_conv import mixture_conv
from flax_dynconv.ops.per_position_conv import IMPLEMENTATIONS as PER_POSITION_FORMS
from flax_dynconv.ops.per_position_conv import per_position_conv
from flax_dynconv.ops.per_sample_conv import IMPLEMENTATIONS as PER_SAMPLE_FORMS
from flax_dynconv.ops.per_sample_conv import per_sample_conv
from tests import oracle
from tests.ops.cases import CASES, DECLINED, REPRESENTATIVE, Case

# The same XLA program, compiled by LLVM without its optimiser: half the time, most of which is compilation here.
fast_jit = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def _per_sample_shapes(case: Case):
    return {'kernel': (case.batch, *case.kernel_size, case.cin // case.groups, case.cout)}


def _mixture_shapes(case: Case):
    batch, k = case.batch, case.num_kernels
    scales = {
        'input_scale': (batch, case.cin),
        'output_scale': (batch, case.cout),
        'tap_scale': (batch, *case.kernel_size),
    }
    return {
        'kernels': (k, *case.kernel_size, case.cin // case.groups, case.cout),
        'weights': (batch, k, case.cout) if case.per_output else (batch, k),
    } | {name: scales[name] for name in case.scales}


def _per_position_shapes(case: Case):
    out, _ = oracle.terms(case.spatial, case.kernel_size, **case.options)
    last = (case.cin, case.cout) if case.count == 'full' else (case.count,)
    return {'kernels': (case.batch, *out, *case.kernel_size, *last)}


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator, its forms, what defines it, and the shapes of a case's operands other than x."""

    function: Callable
    forms: dict
    forward: Callable
    gradients: Callable
    shapes: Callable

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def cases(self) -> list[Case]:
        return CASES[self.name]

    def case(self, name: str) -> Case:
        return next(c for c in self.cases if c.name == name)

    def declined(self, form: str | None, case: Case) -> bool:
        return case.name in DECLINED.get((self.name, form), ('', ()))[1]

    def reason(self, form: str | None) -> str:
        """What the form must say when it declines; no form declines without an entry in the table."""
        return DECLINED[self.name, form][0]

    def representative(self, form: str | None, count: int = 2) -> list[Case]:
        """The first `count` cases that stand for all and that the form can do."""
        cases = [self.case(name) for name in REPRESENTATIVE[self.name]]
        return [case for case in cases if not self.declined(form, case)][:count]

    def shared(self, name: str) -> bool:
        """Whether the operand has no batch axis."""
        return self.name == 'mixture_conv' and name == 'kernels'

    def call(self, case: Case, form: str | None, operands: dict, **options):
        return self.function(**operands, **case.options, **options, implementation=form)

    def operands(self, case: Case, dtype='float64', seed: int = 0) -> dict:
        """Arrays of unit scale, of values that `dtype` holds exactly."""
        rng = np.random.default_rng(seed)
        shapes = {'x': (case.batch, *case.spatial, case.cin)} | self.shapes(case)
        return {name: rng.standard_normal(shape).astype(jnp.dtype(dtype)) for name, shape in shapes.items()}


OPERATORS = {
    operator.name: operator
    for operator in [
        Operator(
            per_sample_conv,
            PER_SAMPLE_FORMS,
            oracle.per_sample_conv,
            oracle.per_sample_conv_gradients,
            _per_sample_shapes,
        ),
        Operator(
            mixture_conv,
            MIXTURE_FORMS,
            oracle.mixture_conv,
            oracle.mixture_conv_gradients,
            _mixture_shapes,
        ),
        Operator(
            per_position_conv,
            PER_POSITION_FORMS,
            oracle.per_position_conv,
            oracle.per_position_conv_gradients,
            _per_position_shapes,
        ),
    ]
}

PAIRS = [(name, form) for name, operator in OPERATORS.items() for form in (None, *operator.forms)]


def _parametrised(pairs):
    ids = [f'{name}-{form}' for name, form in pairs]
    return pytest.mark.parametrize(('operator', 'form'), [(OPERATORS[n], f) for n, f in pairs], ids=ids)


# Decorators that run a test for every operator and form: with None (the library's own choice), without it, and
# without None and the definition.
every_form = _parametrised(PAIRS)
every_named_form = _parametrised([(n, f) for n, f in PAIRS if f is not None])
every_fast_form = _parametrised([(n, f) for n, f in PAIRS if f not in (None, 'reference')])
every_operator = pytest.mark.parametrize('operator', OPERATORS.values(), ids=OPERATORS)


def output_and_gradients(operator: Operator, case: Case, form, operands: dict, g, **options):
    """What `expected` is compared with: the output and the cotangents of all operands."""
    y, pull = jax.vjp(lambda operands: operator.call(case, form, operands, **options), operands)
    return y, pull(g.astype(y.dtype))[0]


@functools.cache
def expected(name: str, case_name: str, dtype: str, seed: int = 0):
    """(output, cotangent, gradients) by the oracle for the operands of that dtype and seed."""
    operator = OPERATORS[name]
    case = operator.case(case_name)
    operands = operator.operands(case, dtype, seed)
    y = operator.forward(**operands, **case.options)
    g = np.random.default_rng(seed + 1).standard_normal(y.shape).astype(jnp.dtype(dtype))
    return y, g, operator.gradients(**operands, g=g, **case.options)
