"""The examples run, at their smallest."""

import importlib.util
import pathlib

import jax
import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / 'examples'
ARGUMENTS = {'train_own_images': [['--epochs', '1', '--width', '0.125']]}


@pytest.mark.parametrize('name', ['swap_conv', 'train_own_images'])
def test_example(name, capsys):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with jax.numpy_rank_promotion('allow'):  # as in a user's session
        module.main(*ARGUMENTS.get(name, []))
    assert {'swap_conv': 'attention of conv2', 'train_own_images': 'test accuracy'}[name] in capsys.readouterr().out
