"""The frozen layout of every layer's variables: a checkpoint of today must load tomorrow.

After a deliberate change: python -m tests.layers.test_layouts
"""

import json
import pathlib

import jax
import pytest
from flax import traverse_util

from tests.catalog import CATALOG, FEATURES, make
from tests.layers.common import inputs

FILE = pathlib.Path(__file__).with_name('layouts.json')


def variants(name):
    """The layer at the sizes of the laws, and depthwise, pointwise, without bias: what changes the set of leaves."""
    yield name, make(name)
    yield f'{name}, pointwise without bias', CATALOG[name](FEATURES, (1, 1), use_bias=False)
    if name != 'PlainODConv':
        yield f'{name}, depthwise', make(name, feature_group_count=FEATURES)


def layout(layer):
    variables = jax.eval_shape(layer.init, jax.random.key(0), inputs())
    leaves = traverse_util.flatten_dict(variables, sep='/')
    return {path: f'{leaf.dtype}{list(leaf.shape)}' for path, leaf in sorted(leaves.items())}


def layouts():
    return {label: layout(layer) for name in CATALOG for label, layer in variants(name)}


def test_the_file_holds_the_catalogue():
    assert set(json.loads(FILE.read_text())) == {label for name in CATALOG for label, _ in variants(name)}


@pytest.mark.parametrize('name', CATALOG)
def test_layout_is_frozen(name):
    frozen = json.loads(FILE.read_text())
    for label, layer in variants(name):
        assert layout(layer) == frozen[label], label


if __name__ == '__main__':
    FILE.write_text(json.dumps(layouts(), indent=1) + '\n')
