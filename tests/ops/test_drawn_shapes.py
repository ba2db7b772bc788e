"""Shapes, strides, paddings, dilations and groups drawn by hypothesis, against the oracle."""

import functools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.cases import ALL_SCALES
from tests.ops.cases import case as make
from tests.ops.operators import OPERATORS, fast_jit, output_and_gradients
from tests.tolerances import assert_close

few = settings(max_examples=15, deadline=None, derandomize=True, database=None)


@st.composite
def options(draw, rank):
    """Options of one call with `rank` spatial dimensions."""
    small = st.integers(1, 3)
    per_dimension = st.one_of(st.integers(1, 2), st.tuples(*[small] * rank))
    chosen = {name: draw(per_dimension) for name in ('strides', 'kernel_dilation')}
    amount = st.integers(0, 2)
    kind = draw(st.sampled_from(['string', 'amounts', 'mode', 'crop']))
    if kind == 'string':
        names = ['SAME', 'VALID', 'CIRCULAR', 'REFLECT'] + ['CAUSAL'] * (rank == 1)
        chosen['padding'] = draw(st.sampled_from(names))
    elif kind == 'mode':
        chosen['padding_mode'] = draw(st.sampled_from(['reflect', 'replicate', 'circular']))
        chosen['padding'] = draw(st.tuples(*[st.tuples(amount, amount)] * rank))
    else:
        low = st.integers(-1, 2) if kind == 'crop' else amount
        chosen['padding'] = draw(st.one_of(amount, st.tuples(*[st.tuples(low, low)] * rank)))
        chosen['input_dilation'] = draw(per_dimension)
    return chosen


@st.composite
def cases(draw, operator):
    """A case of at most a few thousand products."""
    rank = draw(st.integers(1, 3))
    largest, taps = {1: (9, 4), 2: (5, 3), 3: (4, 2)}[rank]
    spatial = draw(st.tuples(*[st.integers(2, largest)] * rank))
    kernel_size = draw(st.tuples(*[st.integers(1, taps)] * rank))
    chosen = draw(options(rank))
    groups, group_features = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 2))
    cin, batch = groups * group_features, draw(st.integers(1, 3))
    if operator == 'per_position_conv':
        count = draw(st.sampled_from(['full', 1, groups, cin]))
        return make('drawn', spatial, kernel_size, cin=cin, cout=draw(st.integers(1, 3)), batch=batch, count=count,
                    **chosen)  # fmt: skip
    extra = {}
    if operator == 'mixture_conv':
        extra = {
            'num_kernels': draw(st.integers(1, 3)),
            'per_output': draw(st.booleans()),
            'scales': tuple(draw(st.lists(st.sampled_from(ALL_SCALES), unique=True))),
        }
    cout = groups * draw(st.integers(1, 2))
    return make('drawn', spatial, kernel_size, cin=cin, cout=cout, batch=batch, feature_group_count=groups,
                **extra, **chosen)  # fmt: skip


def check(name, form, case):
    operator = OPERATORS[name]
    operands = operator.operands(case, 'float32')
    wanted = operator.forward(**operands, **case.options)
    g = np.random.default_rng(1).standard_normal(wanted.shape).astype(np.float32)
    gradients = operator.gradients(**operands, g=g, **case.options)
    y, actual = fast_jit(functools.partial(output_and_gradients, operator, case, form))(operands, g)
    assert_close(y, wanted)
    for argument, gradient in actual.items():
        assert_close(gradient, gradients[argument])


@few
@given(cases('per_sample_conv'))
def test_per_sample_conv(case):
    check('per_sample_conv', 'patches', case)


@few
@given(cases('per_sample_conv').filter(lambda case: case.groups == case.cin))
def test_depthwise_per_sample_conv(case):
    check('per_sample_conv', 'taps', case)


@few
@given(cases('mixture_conv'))
def test_mixture_conv(case):
    check('mixture_conv', 'patches', case)


@few
@given(cases('mixture_conv').filter(lambda case: not case.per_output))
def test_mixture_conv_of_features_at_the_input(case):
    check('mixture_conv', 'features_in', case)


@few
@given(cases('mixture_conv').filter(lambda case: 'tap_scale' not in case.scales))
def test_mixture_conv_of_features_at_the_output(case):
    check('mixture_conv', 'features_out', case)


@few
@given(cases('per_position_conv'))
def test_per_position_conv(case):
    for form in ('taps', 'patches'):
        check('per_position_conv', form, case)
