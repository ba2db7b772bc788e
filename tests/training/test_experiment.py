"""A whole run at the smallest size: files, figures, reloading, the picture's numbers, the commands."""

import functools
import json
import shutil

import jax
import matplotlib.image
import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.layers import ODConv
from flax_dynconv.models import MODELS, ResNet
from flax_dynconv.training import experiment, pictures, run_folder
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.task import Trained
from flax_dynconv.training.tasks import create_task

SMALL = ['--model', 'odconv_tiny_2x', '--width', '0.5', '--epochs', '2', '--batch-size', '64']
ODCONV = functools.partial(ODConv, num_kernels=2)
FIGURES = ('model', 'test_accuracy', 'test_loss', 'parameters', 'multiply_adds')


@pytest.fixture(scope='module', autouse=True)
def tiny():
    """A network of one block and its twin among the models: compilation is what takes time here."""
    fields = {'stage_sizes': (1,), 'features': 16, 'stem': 'cifar'}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, 'tiny', functools.partial(ResNet, **fields))
        patch.setitem(MODELS, 'odconv_tiny_2x', functools.partial(ResNet, conv=ODCONV, **fields))
        yield


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The folder of a run by the command line."""
    folder = tmp_path_factory.mktemp('run') / 'first'
    assert cli.main(['train', *SMALL, '--seed', '3', '--run-dir', str(folder)]) == 0
    return folder


def figures(results):
    """All that a seed determines."""
    chosen = {role: {name: results[role][name] for name in FIGURES} for role in ('dynamic', 'static')}
    epochs = {
        role: [{k: v for k, v in record.items() if k != 'seconds'} for record in results[role]['history']]
        for role in chosen
    }
    return chosen, epochs


def test_results_hold_what_was_trained(run):
    results = run_folder.read_results(run)
    assert results['task'] == 'digits'
    assert results['seed'] == 3
    assert Settings(**results['settings']).model == 'odconv_tiny_2x'
    assert {'python', 'jax', 'flax', 'flax-dynconv'} <= set(results['versions'])
    dynamic, static = results['dynamic'], results['static']
    assert (dynamic['model'], static['model']) == ('odconv_tiny_2x', 'tiny')
    assert dynamic['parameters'] > 1.5 * static['parameters']
    assert static['multiply_adds'] < dynamic['multiply_adds'] < 4 * static['multiply_adds']
    for role in (dynamic, static):
        assert len(role['history']) == 2
        assert role['history'][-1]['test']['accuracy'] == role['test_accuracy']
        assert round(role['test_accuracy'] * 450, 6) == round(role['test_accuracy'] * 450)
        assert 0 < role['seconds_per_epoch'] < results['seconds']
        assert role['history'][1]['train']['loss'] < role['history'][0]['train']['loss']


def test_same_seed_same_numbers(run, tmp_path):
    settings = Settings(**run_folder.read_results(run)['settings'])
    again = experiment.run(settings, run_folder.open_for_writing(tmp_path / 'again'))
    assert figures(again) == figures(run_folder.read_results(run))


def test_the_checkpoints_give_the_recorded_accuracy(run, capsys):
    assert cli.main(['evaluate', str(run), '--json']) == 0
    reloaded = json.loads(capsys.readouterr().out)
    results = run_folder.read_results(run)
    for role in ('dynamic', 'static'):
        assert reloaded[role]['reloaded']['accuracy'] == results[role]['test_accuracy']
        assert reloaded[role]['reloaded']['loss'] == results[role]['test_loss']


def test_evaluate_says_when_the_numbers_differ(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / 'copy')
    results = run_folder.read_results(copy)
    del results['dynamic']
    results['static']['history'][-1]['test']['accuracy'] = 0.123
    run_folder.write_results(copy, results)
    assert cli.main(['evaluate', str(copy)]) == 1
    assert 'recorded: ' in capsys.readouterr().out


def test_evaluate_of_no_run_is_an_error_in_one_line(run, tmp_path, capsys):
    assert cli.main(['evaluate', str(tmp_path)]) == 2
    assert 'holds no finished run: there is no results.json in it' in capsys.readouterr().err
    run_folder.write_results(tmp_path, {'task': 'digits'})
    assert cli.main(['evaluate', str(tmp_path)]) == 2
    assert 'results.json was not written by a training run' in capsys.readouterr().err
    shutil.copy(run / run_folder.RESULTS, tmp_path)
    assert cli.main(['evaluate', str(tmp_path)]) == 2
    assert 'there is no checkpoint at' in capsys.readouterr().err


def test_the_picture_is_drawn(run):
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 400
    assert image.shape[1] > 1000
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 100


@pytest.mark.parametrize('epochs', [1, 3])
def test_a_static_network_alone_has_curves_only(epochs, tmp_path):
    record = {'train': {'loss': 1.0, 'accuracy': 0.5}, 'test': {'loss': 2.0, 'accuracy': 1.0}}
    history = tuple({'epoch': i + 1, 'temperature': 1.0, 'learning_rate': 0.1, **record} for i in range(epochs))
    task = create_task('digits')
    task.picture(tmp_path / 'picture.png', {'static': Trained('tiny', None, {}, history)}, batch_size=64)
    height, width, _ = matplotlib.image.imread(tmp_path / 'picture.png').shape
    assert height < width / 2


def test_class_attention_is_the_mean_over_the_class():
    task = create_task('digits')
    model = experiment.build('odconv_tiny_2x', task, Settings(width=0.5))
    variables = jax.jit(model.init, compiler_options={'xla_backend_optimization_level': 0})(
        jax.random.key(0), task.images['test'][:2]
    )
    attention = pictures.class_attention(task, model, variables, batch_size=64)
    assert list(attention) == ['layer1_0/conv1', 'layer1_0/conv2']
    _, shown = jax.jit(lambda v, x: model.apply(v, x, mutable=['intermediates']))(variables, task.images['test'])
    for layer, values in attention.items():
        block, conv = layer.split('/')
        each = np.asarray(shown['intermediates'][block][conv]['attention_kernel'][0])
        expected = [each[task.labels['test'] == label].mean(axis=0) for label in range(10)]
        np.testing.assert_allclose(values, expected, atol=1e-5)
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_the_default_run_reaches_98_percent(tmp_path):
    """The README's command."""
    assert cli.main(['train', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    assert results['dynamic']['test_accuracy'] >= 0.98
    assert results['static']['test_accuracy'] >= 0.95
    assert cli.main(['evaluate', str(tmp_path / 'run')]) == 0
