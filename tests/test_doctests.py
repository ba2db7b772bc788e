"""The examples in the docstrings of all modules run and print what they say."""

import doctest
import importlib
import pkgutil

import jax
import pytest

import flax_dynconv

# PyTorch's side of the benchmark needs torch to be imported, and has no examples.
PEERS = 'flax_dynconv.bench.peers.'
NAMES = (m.name for m in pkgutil.walk_packages(flax_dynconv.__path__, 'flax_dynconv.'))
MODULES = [name for name in NAMES if not name.startswith(PEERS)]


def with_examples():
    for name in MODULES:
        module = importlib.import_module(name)
        if any(test.examples for test in doctest.DocTestFinder().find(module)):
            yield name


@pytest.mark.parametrize('name', list(with_examples()))
def test_docstring_examples(name):
    if name == 'flax_dynconv.convert.saving':
        pytest.importorskip('torch', reason='the example saves a case from a PyTorch module')
    # A user's session does not raise on implicit rank promotion.
    with jax.numpy_rank_promotion('allow'):
        result = doctest.testmod(
            importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        )
    assert result.attempted > 0 and result.failed == 0


def test_every_public_function_and_layer_has_an_example():
    for name in flax_dynconv.__all__:
        thing = getattr(flax_dynconv, name)
        if callable(thing):
            assert thing.__doc__ and '>>>' in thing.__doc__, name
