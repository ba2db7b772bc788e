"""The examples in the docstrings of all public symbols."""

import doctest
import inspect

import pytest

from flax_dynconv import layers

SYMBOLS = sorted(layers.__all__)


@pytest.mark.parametrize('name', SYMBOLS)
def test_example_runs(name):
    symbol = getattr(layers, name)
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(symbol, name, module=inspect.getmodule(symbol))
    assert found.examples, f'{name} has no example'
    results = doctest.DocTestRunner().run(found)
    assert results.failed == 0
