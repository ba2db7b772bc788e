"""Depthwise on CPU in blocks: sizes at which channels, positions and phases are cut, against the definition."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from flax_dynconv.ops import per_position_conv, per_sample_conv
from tests.tolerances import assert_close

# (spatial, channels, channels out, options) for 5x5 or, in one dimension, 13 taps.
CASES = {
    'many_channels': ((9, 6), 640, 640, {}),
    'many_channels_in_one_dimension': ((20,), 1024, 1024, {'kernel_dilation': 2}),
    'many_positions': ((37, 29), 256, 256, {'padding': ((2, 0), (-1, 3))}),
    'odd_positions': ((11, 17), 4, 4, {}),
    'phases': ((11, 10), 6, 12, {'strides': (2, 3), 'padding': 2}),
    'phases_without_taps': ((13, 7), 3, 3, {'strides': (6, 2), 'kernel_dilation': (2, 1), 'padding': (0, 1)}),
}


def operands(spatial, channels, out, options):
    rng = np.random.default_rng(0)
    size = (13,) if len(spatial) == 1 else (5, 5) if 'kernel_dilation' not in options else (3, 2)
    x = rng.standard_normal((2, *spatial, channels), np.float32)
    return x, rng.standard_normal((2, *size, 1, out), np.float32)


def value_and_gradients(options, channels, implementation):
    def call(x, kernel):
        return per_sample_conv(x, kernel, **options, feature_group_count=channels, implementation=implementation)

    def run(x, kernel):
        y, pull = jax.vjp(call, x, kernel)
        return y, pull(y)

    return run


@pytest.mark.parametrize('name', CASES)
def test_blocks_agree_with_the_definition(name):
    _, channels, _, options = CASES[name]
    arrays = operands(*CASES[name])
    actual = jax.jit(value_and_gradients(options, channels, 'taps'))(*arrays)
    expected = jax.jit(value_and_gradients(options, channels, 'reference'))(*arrays)
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize('name', ['many_channels_in_one_dimension', 'odd_positions'])
def test_inside_a_users_shard_map(name):
    _, channels, _, options = CASES[name]
    arrays = operands(*CASES[name])
    run = value_and_gradients(options, channels, 'taps')
    mesh = jax.make_mesh((1,), ('data',), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(run, mesh=mesh, in_specs=P('data'), out_specs=P('data'))
    jax.tree.map(assert_close, jax.jit(mapped)(*arrays), jax.jit(run)(*arrays))


@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize('options', [{'strides': (2, 1)}, {'kernel_dilation': (1, 2)}], ids=['strides', 'dilation'])
def test_kernel_gradient_per_position_of_one_channel(batch, options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 7, 6, 1), np.float32)
    rows = 4 if 'strides' in options else 7
    kernels = rng.standard_normal((batch, rows, 6, 3, 5, 1), np.float32)

    def run(implementation):
        y, pull = jax.vjp(lambda x, k: per_position_conv(x, k, **options, implementation=implementation), x, kernels)
        return y, pull(y)

    jax.tree.map(assert_close, run('taps'), run('reference'))
