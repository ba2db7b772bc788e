"""Misuse of the operators: the message names the argument, what was expected and what came."""

import jax.numpy as jnp
import pytest

from flax_dynconv.ops import mixture_conv, per_position_conv, per_sample_conv
from tests.ops.operators import OPERATORS, every_named_form, every_operator


def ones(*shape, dtype='float32'):
    return jnp.ones(shape, dtype)


X = (2, 5, 4, 6)


def per_sample(x=X, kernel=(2, 3, 3, 6, 8), **options):
    return per_sample_conv(ones(*x), ones(*kernel), **options)


def mixture(x=X, kernels=(4, 3, 3, 6, 8), weights=(2, 4), **options):
    scales = {n: ones(*options.pop(n)) for n in ('input_scale', 'output_scale', 'tap_scale') if n in options}
    return mixture_conv(ones(*x), ones(*kernels), ones(*weights), **scales, **options)


def per_position(x=X, kernels=(2, 5, 4, 3, 3, 1), **options):
    return per_position_conv(ones(*x), ones(*kernels), **options)


ALL = [per_sample, mixture, per_position]
every = pytest.mark.parametrize('call', ALL, ids=['per_sample_conv', 'mixture_conv', 'per_position_conv'])


@every
def test_the_calls_themselves_are_right(call):
    assert call().shape[:3] == (2, 5, 4)


@every
@pytest.mark.parametrize('shape', [(6,), (5, 6), (2, 3, 3, 3, 3, 6)])
def test_rank_of_x(call, shape):
    with pytest.raises(ValueError, match=r'^x: expected 3 or 4 or 5 dimensions \(B, \*spatial, Cin\), got shape \('):
        call(x=shape)


def test_rank_of_kernels():
    with pytest.raises(ValueError, match=r'^kernel: expected 5 dimensions .*, got shape \(3, 3, 6, 8\)'):
        per_sample(kernel=(3, 3, 6, 8))
    with pytest.raises(ValueError, match=r'^kernels: expected 5 dimensions .*, got shape \(3, 3, 6, 8\)'):
        mixture(kernels=(3, 3, 6, 8))
    with pytest.raises(ValueError, match=r'^weights: expected 2 or 3 dimensions .*, got shape \(4,\)'):
        mixture(weights=(4,))
    with pytest.raises(ValueError, match=r'^kernels: expected 6 or 7 dimensions .*, got shape \(2, 5, 4, 3, 3\)'):
        per_position(kernels=(2, 5, 4, 3, 3))


@pytest.mark.parametrize(('groups', 'wanted'), [(1, '6/1 = 6'), (2, '6/2 = 3'), (6, '6/6 = 1')])
def test_channels_that_do_not_fit_the_groups(groups, wanted):
    message = f'expected Cin/g = {wanted} input channels, got 5'
    with pytest.raises(ValueError, match=f'^kernel: {message}'):
        per_sample(kernel=(2, 3, 3, 5, 12), feature_group_count=groups)
    with pytest.raises(ValueError, match=f'^kernels: {message}'):
        mixture(kernels=(4, 3, 3, 5, 12), feature_group_count=groups)


def test_groups_that_do_not_divide():
    with pytest.raises(ValueError, match=r'^feature_group_count: expected a divisor of the 6 channels of x, got 4'):
        per_sample(feature_group_count=4)
    with pytest.raises(ValueError, match=r'^kernels: expected Cout to be a multiple of feature_group_count = 3, got 8'):
        mixture(kernels=(4, 3, 3, 2, 8), feature_group_count=3)
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f'^feature_group_count: expected an int >= 1, got {wrong}'):
            per_sample(feature_group_count=wrong)


def test_channels_of_kernels_per_position():
    with pytest.raises(ValueError, match=r'^kernels: expected G = 1 or a divisor of the 6 channels of x, got 4'):
        per_position(kernels=(2, 5, 4, 3, 3, 4))
    with pytest.raises(ValueError, match=r'^kernels: expected Cin/g = 6/1 = 6 input channels, got 5'):
        per_position(kernels=(2, 5, 4, 3, 3, 5, 8))


def test_batch():
    with pytest.raises(ValueError, match=r'^kernel: expected shape .* = \(2, 3, 3, 6, 8\), got \(3, 3, 3, 6, 8\)'):
        per_sample(kernel=(3, 3, 3, 6, 8))
    with pytest.raises(ValueError, match=r'^weights: expected shape \(B, K\) = \(2, 4\), got \(3, 4\)'):
        mixture(weights=(3, 4))
    with pytest.raises(ValueError, match=r'^kernels: expected shape .* got \(3, 5, 4, 3, 3, 1\)'):
        per_position(kernels=(3, 5, 4, 3, 3, 1))


def test_weights_and_scales_of_another_size():
    with pytest.raises(ValueError, match=r'^weights: expected shape \(B, K\) = \(2, 4\), got \(2, 3\)'):
        mixture(weights=(2, 3))
    with pytest.raises(ValueError, match=r'^weights: expected shape \(B, K, Cout\) = \(2, 4, 8\), got \(2, 4, 6\)'):
        mixture(weights=(2, 4, 6))
    with pytest.raises(ValueError, match=r'^kernels: expected at least one kernel'):
        mixture(kernels=(0, 3, 3, 6, 8), weights=(2, 0))
    for name, wanted in {'input_scale': r'\(B, Cin\) = \(2, 6\)', 'output_scale': r'\(B, Cout\) = \(2, 8\)'}.items():
        with pytest.raises(ValueError, match=rf'^{name}: expected shape {wanted}, got \(2, 7\)'):
            mixture(**{name: (2, 7)})
    with pytest.raises(ValueError, match=r'^tap_scale: expected shape .* = \(2, 3, 3\), got \(2, 9\)'):
        mixture(tap_scale=(2, 9))


def test_kernels_for_another_number_of_positions():
    message = r'^kernels: expected one kernel per output position, \(3, 2\), got \(5, 4\)'
    with pytest.raises(ValueError, match=message):
        per_position(strides=2)


@every_operator
def test_unknown_implementation_lists_those_that_exist(operator):
    case = operator.cases[0]
    with pytest.raises(
        ValueError, match=r"^implementation: expected None, an Autotune or one of .*, got 'fast'"
    ) as caught:
        operator.call(case, 'fast', operator.operands(case, 'float32'))
    assert all(repr(form) in str(caught.value) for form in operator.forms)


def test_a_form_that_cannot_do_the_case_says_why():
    wanted = "implementation 'taps' cannot do this case: .*depthwise.*, feature_group_count = Cin = 6, got 1"
    for call in (per_sample, mixture):
        with pytest.raises(NotImplementedError, match=wanted):
            call(implementation='taps')
    with pytest.raises(NotImplementedError, match=r"'features_in' cannot .* \(B, K, Cout\)"):
        mixture(weights=(2, 4, 8), implementation='features_in')
    with pytest.raises(NotImplementedError, match=r"'features_out' cannot .* tap_scale"):
        mixture(tap_scale=(2, 3, 3), implementation='features_out')


@every_operator
@pytest.mark.parametrize('dtype', ['int32', 'bool', 'complex64'])
def test_operands_that_are_not_real_floating_numbers(operator, dtype):
    case = operator.cases[0]
    operands = operator.operands(case, 'float32')
    for name in operands:
        with pytest.raises(TypeError, match=f'^{name}: expected a floating dtype, got {dtype}'):
            operator.call(case, None, operands | {name: operands[name].astype(dtype)})
        with pytest.raises(TypeError, match=f'^{name}: expected a floating array, got list'):
            operator.call(case, None, operands | {name: operands[name].tolist()})


@every
@pytest.mark.parametrize('padding', ['FULL', ((1, 1),), (1, 1, 1), 1.5, ((1, 1, 1), (1, 1, 1)), None])
def test_padding(call, padding):
    with pytest.raises(ValueError, match=r'^padding: expected .*, got '):
        call(padding=padding)


@every
def test_padding_that_does_not_exist_for_the_case(call):
    with pytest.raises(ValueError, match=r"^padding: 'CAUSAL' expects 1 spatial dimension, got 2"):
        call(padding='CAUSAL')
    with pytest.raises(ValueError, match=r"^padding_mode: expected one of .*'zeros'.*, got 'symmetric'"):
        call(padding=1, padding_mode='symmetric')
    with pytest.raises(ValueError, match=r"^padding_mode: expected 'circular' or the default .*, got 'reflect'"):
        call(padding='CIRCULAR', padding_mode='reflect')
    with pytest.raises(ValueError, match=r"^padding: expected amounts >= 0 with padding_mode 'reflect'"):
        call(padding=((1, 1), (-1, 1)), padding_mode='reflect')


@every
@pytest.mark.parametrize('name', ['strides', 'input_dilation', 'kernel_dilation'])
@pytest.mark.parametrize('value', [0, -1, (1,), (1, 1, 1), (1, 0), 1.5, (1, 1.5), 'two', None])
def test_strides_and_dilations(call, name, value):
    with pytest.raises(ValueError, match=f'^{name}: expected an int or 2 ints, each >= 1, got '):
        call(**{name: value})


@every_operator
def test_kernels_without_taps(operator):
    kernels = {'per_sample_conv': ('kernel', (2, 0, 3, 6, 8)), 'mixture_conv': ('kernels', (4, 0, 3, 6, 8))}
    name, shape = kernels.get(operator.name, ('kernels', (2, 5, 4, 0, 3, 1)))
    call = {'per_sample_conv': per_sample, 'mixture_conv': mixture}.get(operator.name, per_position)
    with pytest.raises(ValueError, match=rf'^{name}: expected kernel_size >= 1, got \(0, 3\)'):
        call(**{name: shape})


@every_named_form
def test_errors_come_before_the_form(operator, form):
    """A wrong batch is a ValueError whichever form was asked for, also one that declines the case."""
    case = operator.cases[0]
    operands = operator.operands(case, 'float32')
    name = 'weights' if operator is OPERATORS['mixture_conv'] else list(operands)[1]
    with pytest.raises(ValueError, match=f'^{name}: expected shape'):
        operator.call(case, form, operands | {name: operands[name].repeat(2, 0)})
