"""A whole run at the smallest size: files, figures, reloading, the picture's numbers, the commands."""

import functools
from types import SimpleNamespace

import jax
import matplotlib.image
import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.layers import ODConv
from flax_dynconv.models import MODELS, ResNet, count
from flax_dynconv.training import experiment, loop, pictures, run_folder
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.task import Trained
from flax_dynconv.training.tasks import create_task

SMALL = ['--model', 'odconv_tiny_2x', '--width', '0.5', '--epochs', '2', '--batch-size', '64']
ODCONV = functools.partial(ODConv, num_kernels=2)
FIGURES = ('model', 'test_accuracy', 'test_loss', 'parameters', 'multiply_adds')


@pytest.fixture(scope='module', autouse=True)
def tiny(compiled_once):
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
    times = ('seconds', 'images_per_second')
    chosen = {role: {name: results[role][name] for name in FIGURES} for role in ('dynamic', 'static')}
    epochs = {
        role: [{k: v for k, v in record.items() if k not in times} for record in results[role]['history']]
        for role in chosen
    }
    return chosen, epochs


def test_results_hold_what_was_trained(run):
    results = run_folder.read_results(run)
    assert results['task'] == 'digits'
    assert results['seed'] == 3
    assert Settings.from_json(results['settings']).network.model == 'odconv_tiny_2x'
    assert results['bad_images'] == {}
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
    settings = Settings.from_json(run_folder.read_results(run)['settings'])
    with run_folder.opened(tmp_path / 'again') as folder:
        again = experiment.run(settings, folder)
    assert figures(again) == figures(run_folder.read_results(run))


def test_the_picture_is_drawn(run):
    image = matplotlib.image.imread(run / run_folder.PICTURE)
    assert image.shape[0] > 400
    assert image.shape[1] > 1000
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 100


@pytest.mark.parametrize('epochs', [1, 3])
def test_a_static_network_alone_has_curves_only(epochs, tmp_path):
    record = {'train': {'loss': 1.0, 'accuracy': 0.5}, 'test': {'loss': 2.0, 'accuracy': 1.0}}
    history = tuple({'epoch': i + 1, 'temperature': 1.0, 'learning_rate': 0.1, **record} for i in range(epochs))
    task = create_task(Settings())
    task.picture(tmp_path / 'picture.png', {'static': Trained('tiny', None, {}, history)}, batch_size=64)
    height, width, _ = matplotlib.image.imread(tmp_path / 'picture.png').shape
    assert height < width / 2


def test_class_attention_is_the_mean_over_the_class():
    task = create_task(Settings())
    model = experiment.build('odconv_tiny_2x', 10, Settings().updated(model='odconv_tiny_2x', width=0.5))
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


def test_arguments_reach_the_network_and_its_twin_where_it_has_them():
    chosen = Settings().updated(
        model='odconv_resnet8_4x',
        num_kernels=2,
        dropout=0.1,
        dtype='bfloat16',
        remat=True,
        arguments='{"reduction": 0.5, "in_channels": 1}',
    )
    dynamic, static = (experiment.build(name, 7, chosen) for name in experiment.networks(chosen).values())
    for network in (dynamic, static):
        assert (network.num_classes, network.dropout, network.in_channels, network.remat) == (7, 0.1, 1, True)
        assert network.dtype == 'bfloat16'
    assert dynamic.conv.keywords['num_kernels'] == 2 and dynamic.conv.keywords['reduction'] == 0.5
    with pytest.raises(ValueError, match=r'must fit odconv_resnet8_4x, got reductoin=1, num_kernels=2: .* no field'):
        experiment.build('odconv_resnet8_4x', 7, chosen.updated(arguments='{"reductoin": 1}'))


@pytest.mark.parametrize(
    ('model', 'twin', 'expected'),
    [
        ('odconv_resnet8_4x', True, {'dynamic': 'odconv_resnet8_4x', 'static': 'resnet8'}),
        ('odconv_resnet8_4x', False, {'dynamic': 'odconv_resnet8_4x'}),
        ('resnet8', True, {'static': 'resnet8'}),
    ],
)
def test_which_networks_are_trained(model, twin, expected):
    assert experiment.networks(Settings(twin=twin).updated(model=model)) == expected


def test_the_room_that_checkpoints_need_is_known_before():
    task, settings = create_task(Settings()), Settings().updated(model='tiny', width=0.5, keep=3)
    parameters = count(experiment.build('tiny', 10, settings), task.example()['image']).parameters
    # Parameters and their momentum, three that are kept, the best, and one that is being written.
    assert 1.0 < experiment.needed_bytes(settings, task) / (5 * 2 * 4 * parameters) < 1.3


def test_a_test_loss_that_is_no_number_does_not_cost_the_results(tmp_path, monkeypatch):
    def fit(*args, **options):
        figures = {'loss': float('nan'), 'accuracy': 0.5}
        return loop.Fit(SimpleNamespace(evaluated={}), [{'epoch': 1, 'seconds': 1.0, 'test': figures}], 0.0)

    monkeypatch.setattr(loop, 'fit', fit)
    monkeypatch.setattr(experiment, '_on_host', lambda variables: variables)
    task = create_task(Settings())
    monkeypatch.setattr(task, 'picture', lambda *args: None)
    results = experiment.run(Settings().updated(model='tiny', width=0.5), tmp_path, task=task)
    assert np.isnan(results['static']['test_loss'])
    assert run_folder.read_results(tmp_path)['static']['history'][0]['test'] == {'loss': 'nan', 'accuracy': 0.5}


@pytest.mark.slow
def test_the_default_run_reaches_98_percent(tmp_path):
    """The README's command."""
    assert cli.main(['train', '--run-dir', str(tmp_path / 'run')]) == 0
    results = run_folder.read_results(tmp_path / 'run')
    assert results['dynamic']['test_accuracy'] >= 0.98
    assert results['static']['test_accuracy'] >= 0.95
    assert cli.main(['evaluate', str(tmp_path / 'run')]) == 0
