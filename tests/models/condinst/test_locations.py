"""Locations of levels against stored numbers of the reference."""

import numpy as np
import pytest

from flax_dynconv.models import level_locations
from tests.golden.loader import Golden


def test_stored_numbers():
    golden = Golden('condinst_locations')
    own = golden.meta['arguments']
    for stride in own['strides']:
        found = level_locations(own['h'], own['w'], stride)
        assert found.dtype == np.float32
        # Whole numbers below 2**24.
        np.testing.assert_array_equal(found, golden.arrays[f'out.s{stride}'])


@pytest.mark.parametrize(('name', 'value'), [('height', 0), ('width', -1), ('stride', 0), ('stride', 8.0)])
def test_sizes_that_cannot_be(name, value):
    with pytest.raises(ValueError, match=name):
        level_locations(**{'height': 2, 'width': 3, 'stride': 8, name: value})
