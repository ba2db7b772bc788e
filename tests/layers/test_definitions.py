"""Every layer against its formulas in float64 numpy: one to three dimensions, all options of a convolution."""

import jax
import numpy as np
import pytest

from tests.catalog import CATALOG
from tests.layers.common import init, inputs
from tests.layers.definitions import DEFINITIONS
from tests.tolerances import assert_close

CASES = {
    '1d causal dilated': ((7, 4), (3,), {'padding': 'CAUSAL', 'kernel_dilation': 2}),
    '2d strided reflect': ((5, 6, 4), (3, 2), {'strides': (2, 1), 'padding': 1, 'padding_mode': 'reflect'}),
    '2d grouped, dilated input': ((3, 4, 4), (2, 3), {'input_dilation': 2, 'padding': 1, 'feature_group_count': 2}),
    '2d depthwise': ((4, 5, 4), (3, 3), {'strides': 2, 'padding': ((1, 0), (2, 1)), 'feature_group_count': 4}),
    '3d': ((3, 2, 4, 4), (2, 1, 3), {'strides': (1, 1, 2), 'padding': 'SAME'}),
    'pointwise': ((2, 3, 4), (1, 1), {'padding': 0}),
}
COMBINATIONS = [
    (name, case)
    for name in CATALOG
    for case, (_, _, options) in CASES.items()
    if name != 'PlainODConv' or 'feature_group_count' not in options  # groups are not defined for it
]


def test_every_layer_has_a_definition():
    assert set(DEFINITIONS) == set(CATALOG)


@pytest.mark.parametrize('name, case', COMBINATIONS)
def test_layer_is_its_definition(name, case):
    shape, kernel_size, options = CASES[case]
    form = 'taps' if case == '2d depthwise' else None
    layer, x = CATALOG[name](4, kernel_size, implementation=form, **options), inputs((2, *shape))
    variables = init(layer, x)
    expected = DEFINITIONS[name](jax.tree.map(lambda a: np.asarray(a, np.float64), variables), np.asarray(x), **options)
    assert_close(jax.jit(layer.apply)(variables, x), expected)
