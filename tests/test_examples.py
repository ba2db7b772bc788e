"""The examples run, at their smallest."""

import importlib.util
import pathlib
import re

import jax
import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / 'examples'
ARGUMENTS = {'train_own_images': [['--epochs', '1', '--width', '0.125']]}


def run(name, *arguments):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with jax.numpy_rank_promotion('allow'):  # as in a user's session
        module.main(*arguments)


@pytest.mark.parametrize('name', ['swap_conv', 'train_own_images'])
def test_example(name, capsys):
    run(name, *ARGUMENTS.get(name, []))
    assert {'swap_conv': 'attention of conv2', 'train_own_images': 'test accuracy'}[name] in capsys.readouterr().out


def test_pmap_training(capsys):
    run('pmap_training', ['--epochs', '2', '--features', '8'])
    out = capsys.readouterr().out
    assert '8 devices with 8 images each' in out
    first, second = (float(loss) for loss in re.findall(r'loss ([\d.]+)', out))
    assert second < first
    assert 'largest difference between replicas: 0.0\n' in out


def test_pmap_training_divides_batches(capsys):
    with pytest.raises(SystemExit):
        run('pmap_training', ['--batch-size', '60'])
    assert '--batch-size must be a multiple of the 8 devices, got 60' in capsys.readouterr().err
