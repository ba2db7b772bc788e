"""Locations against stored numbers; the order of the flattened maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.models import SIZES_OF_INTEREST, STRIDES, InstanceMaps, flatten_maps, level_locations
from tests.golden.loader import Golden

SIZES = ((3, 5), (2, 3), (1, 2))


def maps(batch=2):
    """Every entry of a map says where it is: 1000 level + 100 row + 10 column + channel, and the image behind that."""

    def level(n, height, width, channels):
        b, row, column, c = np.ogrid[:batch, :height, :width, :channels]
        return jnp.asarray(1000 * n + 100 * row + 10 * column + c + b / 8, jnp.float32)

    def levels(channels):
        return tuple(level(n, *size, channels) for n, size in enumerate(SIZES))

    return InstanceMaps(levels(6), levels(4), levels(1), levels(7), jnp.ones((batch, 3, 5, 8)))


def test_stored_numbers():
    golden = Golden('condinst_locations')
    height, width = golden.meta['arguments']['h'], golden.meta['arguments']['w']
    for stride in golden.meta['arguments']['strides']:
        found = level_locations(height, width, stride)
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, golden.arrays[f'out.s{stride}'])


def test_odd_strides_and_double_precision():
    np.testing.assert_array_equal(level_locations(1, 3, 5), [[2, 2], [7, 2], [12, 2]])
    with jax.enable_x64(True):
        assert level_locations(2, 2, 8).dtype == jnp.float32
    for sizes in ((0, 1, 8), (1, 1.0, 8), (1, 1, -8)):
        with pytest.raises(ValueError, match=r'(height|width|stride): expected an int >= 1, got'):
            level_locations(*sizes)


def test_levels_of_interest():
    """What relative coordinates are divided by is eight strides."""
    assert tuple(8 * stride for stride in STRIDES) == SIZES_OF_INTEREST


def test_flattened_in_the_order_of_the_locations():
    flat = jax.jit(functools.partial(flatten_maps, strides=(8, 16, 32), sizes_of_interest=(64, 128, 256)))(maps())
    places = [(n, row, column) for n, size in enumerate(SIZES) for row, column in np.ndindex(size)]
    assert flat.centerness.shape == (2, len(places))
    for name, channels in (('logits', 6), ('boxes', 4), ('parameters', 7), ('centerness', 1)):
        found = np.asarray(getattr(flat, name)).reshape(2, len(places), channels)
        for b in range(2):
            first = [1000 * n + 100 * row + 10 * column + b / 8 for n, row, column in places]
            np.testing.assert_array_equal(found[b], np.array(first)[:, None] + np.arange(channels))
    np.testing.assert_array_equal(flat.levels, [n for n, _, _ in places])
    assert flat.levels.dtype == jnp.int32
    np.testing.assert_array_equal(flat.strides, [8 * 2**n for n, _, _ in places])
    np.testing.assert_array_equal(flat.scales, [64 * 2**n for n, _, _ in places])
    middle = [[8 * 2**n * column + 4 * 2**n, 8 * 2**n * row + 4 * 2**n] for n, row, column in places]
    np.testing.assert_array_equal(flat.locations, middle)
    assert {leaf.dtype for leaf in (flat.locations, flat.strides, flat.scales)} == {jnp.dtype('float32')}


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'strides: expected one for each of 3 levels, got \(8, 16\)'):
        flatten_maps(maps(), (8, 16), (64, 128, 256))
    with pytest.raises(ValueError, match=r'sizes_of_interest: expected one for each of 3 levels, got \(64,\)'):
        flatten_maps(maps(), (8, 16, 32), (64,))
