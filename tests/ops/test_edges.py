"""Empty batches and outputs, mixed dtypes, the dtype of the result and where sums are taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.ops import explain, mixture_conv, per_sample_conv
from tests.ops.cases import case as make
from tests.ops.operators import every_form, every_named_form, expected, fast_jit, output_and_gradients
from tests.tolerances import assert_close


@every_form
def test_empty_batch(operator, form):
    (case,) = operator.representative(form, 1)
    operands = operator.operands(case, 'float32')
    empty = {name: array if operator.shared(name) else array[:0] for name, array in operands.items()}
    y, g, _ = expected(operator.name, case.name, 'float32')
    y_empty, gradients = output_and_gradients(operator, case, form, empty, g[:0])
    assert y_empty.shape == (0, *y.shape[1:]) and y_empty.dtype == jnp.float32
    for name, gradient in gradients.items():
        assert gradient.shape == empty[name].shape and not np.any(gradient)


NO_OUTPUT = {
    'per_sample_conv': make('no_output', (2, 4), cin=4, cout=4, padding='VALID', feature_group_count=4),
    # One channel is dense and depthwise at once, so that no form declines it.
    'mixture_conv': make('no_output', (2, 4), cin=1, cout=4, padding='VALID'),
    'per_position_conv': make('no_output', (2, 4), padding='VALID', count=2),
}


@every_form
def test_a_kernel_larger_than_the_input_gives_no_output(operator, form):
    case = NO_OUTPUT[operator.name]
    operands = operator.operands(case, 'float32')
    wanted = operator.forward(**operands, **case.options)
    y, gradients = output_and_gradients(operator, case, form, operands, wanted)
    assert y.shape == wanted.shape and wanted.size == 0
    for name, gradient in gradients.items():
        assert gradient.shape == operands[name].shape and not np.any(gradient)


@pytest.mark.parametrize(('rows', 'cin', 'cout'), [(0, 3, 5), (3, 0, 5), (3, 3, 0)])
def test_no_rows_or_channels_give_zeros(rows, cin, cout):
    x, kernels, weights = (jnp.ones(shape) for shape in ((2, rows, 4, cin), (2, 3, 3, cin, cout), (2, 2)))
    for operator, operands in ((per_sample_conv, (x, kernels)), (mixture_conv, (x, kernels, weights))):
        y, pull = jax.vjp(functools.partial(operator, padding=2), *operands)
        assert y.shape == (2, rows + 2, 6, cout) and not np.any(y)
        assert not any(np.any(gradient) for gradient in pull(jnp.ones_like(y)))
        assert explain(operator, *operands, padding=2).chosen


@every_named_form
def test_x_decides_the_dtype_and_every_gradient_has_its_operands(operator, form):
    (case,) = operator.representative(form, 1)
    operands = operator.operands(case, 'bfloat16')
    y, g, gradients = expected(operator.name, case.name, 'bfloat16')
    # The values are those of bfloat16, so that the oracle's answer is the same whatever holds them.
    for x_dtype, others in (('bfloat16', 'float32'), ('float32', 'bfloat16')):
        mixed = {name: array.astype(x_dtype if name == 'x' else others) for name, array in operands.items()}
        actual, actual_gradients = fast_jit(lambda o, g: output_and_gradients(operator, case, form, o, g))(mixed, g)
        assert actual.dtype == x_dtype
        assert_close(actual, y, x_dtype)
        for name, gradient in actual_gradients.items():
            assert gradient.dtype == mixed[name].dtype
            assert_close(gradient, gradients[name], 'bfloat16')


@every_named_form
def test_preferred_element_type(operator, form):
    (case,) = operator.representative(form, 1)
    operands = operator.operands(case, 'bfloat16')
    wanted, g, gradients = expected(operator.name, case.name, 'bfloat16')
    run = fast_jit(lambda o, g: output_and_gradients(operator, case, form, o, g, preferred_element_type='float32'))
    y, actual = run(operands, g)
    assert y.dtype == jnp.float32
    # Mixed kernels are rounded to the dtype of x; without mixing every product is exact in float32.
    rounded = operator.name == 'mixture_conv'
    assert_close(y, wanted, 'bfloat16' if rounded else 'float32')
    for name, gradient in actual.items():
        assert gradient.dtype == jnp.bfloat16
        assert_close(gradient, gradients[name])


# 400 ones over channels, or 256 and then eight ones over taps: bfloat16 would stand still at 256 in both.
SUMS = {
    'per_sample_conv': [
        make('channels', (1,), (1,), cin=400, cout=1),
        make('taps', (9,), (9,), cin=1, cout=1, padding='VALID'),
    ],
    'mixture_conv': [make('channels', (1,), (1,), cin=400, cout=1, num_kernels=1)],
    'per_position_conv': [
        make('channels', (1,), (1,), cin=400, cout=1, count='full'),
        make('taps', (9,), (9,), cin=1, padding='VALID'),
    ],
}


@every_named_form
def test_half_types_are_summed_in_float32(operator, form):
    tried = 0
    for case in SUMS[operator.name]:
        operands = {name: np.ones_like(array) for name, array in operator.operands(case, 'bfloat16').items()}
        if case.name == 'taps':
            operands['x'][:, 0] = 256
        try:
            y = operator.call(case, form, operands)
        except NotImplementedError:
            continue
        tried += 1
        np.testing.assert_array_equal(y, 264 if case.name == 'taps' else 400)
    assert tried or (operator.name, form) == ('mixture_conv', 'taps')
