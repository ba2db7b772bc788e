"""Multiply-adds of the layers, by hand."""

import pytest

from flax_dynconv.layers import CondConv, CondConvRouting, DyNetConv, ODConv, PlainODConv

# A 3x3 convolution of 8 to 12 channels on a map of 7x6: P weights, 42 positions.
P, POSITIONS, X, Y = 3 * 3 * 8 * 12, 7 * 6, (2, 7, 6, 8), (2, 7, 6, 12)
SCALED = POSITIONS * (8 + 12)


@pytest.mark.parametrize(
    'layer, x, y, expected',
    [
        (CondConv(12, (3, 3), num_kernels=4), X, Y, POSITIONS * P + 4 * P),
        (DyNetConv(12, (3, 3), num_kernels=6), X, Y, POSITIONS * P + 6 * P),
        (ODConv(12, (3, 3), num_kernels=4), X, Y, POSITIONS * P + 2 * 4 * P + SCALED),
        (ODConv(12, (3, 3), num_kernels=1), X, Y, POSITIONS * P + P + SCALED),
        (ODConv(12, (1, 1), num_kernels=1), X, Y, POSITIONS * P // 9 + SCALED),
        (PlainODConv(12, (1, 1), num_kernels=1), X, Y, POSITIONS * P // 9 + 2 * P // 9 + SCALED),
        (ODConv(8, (3, 3), 2, 1, feature_group_count=8), X, (2, 4, 3, 8), 12 * 72 + 8 * 72 + POSITIONS * 8),
        (CondConv(12, (3, 3), 2, feature_group_count=4), X, (2, 4, 3, 12), (12 + 8) * P // 4),
        (CondConv(4, 3), (5, 2), (5, 4), 5 * 24 + 8 * 24),
        (CondConvRouting(), X, (2, 8), 8 * 8),
    ],
)
def test_multiply_adds_per_sample(layer, x, y, expected):
    assert layer.multiply_adds(x, y) == expected


@pytest.mark.parametrize('implementation', ['grouped', 'features_out'])
def test_the_count_does_not_depend_on_the_implementation(implementation):
    layer = CondConv(12, (3, 3), implementation=implementation)
    assert layer.multiply_adds(X, Y) == CondConv(12, (3, 3)).multiply_adds(X, Y)
