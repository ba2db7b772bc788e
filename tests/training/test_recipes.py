"""Recipes: the published numbers, their schedules, commands that parse, and the command that lists them."""

import importlib
import importlib.util
import json
import math
import pathlib
import pkgutil
import shlex

import pytest

from flax_dynconv import cli
from flax_dynconv.models import MODELS
from flax_dynconv.training import experiment, recipes, schedules
from flax_dynconv.training.optimizers import EPSILON, SECOND_MOMENT, make_optimizer
from flax_dynconv.training.recipes import RECIPES, cifar10, find_recipe
from flax_dynconv.training.recipes_cli import changed
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.train_arguments import parse

# epochs, images per step, learning rate at that batch, weight decay, dropout, label smoothing.
PUBLISHED = {
    'odconv-resnet-100ep': (100, 256, 0.1, 1e-4, 0.2, 0.0),
    'odconv-mobilenetv2-150ep': (150, 256, 0.05, 4e-5, 0.2, 0.0),
    'condconv-efficientnet-350ep': (350, 2048, 0.256, 1e-5, 0.25, 0.1),
    'dyconv-mobilenetv2-300ep': (300, 256, 0.05, 4e-5, 0.2, 0.0),
    'dyconv-mobilenetv3-300ep': (300, 256, 0.1, 2e-5, 0.0, 0.0),
    'dyconv-resnet-100ep': (100, 256, 0.1, 1e-4, 0.1, 0.0),
    'dyconv-cifar10-160ep': (160, 128, 0.1, 1e-4, 0.0, 0.0),
    'dynet-mobilenetv2': (240, 2048, 0.8, 5e-5, 0.0, 0.1),
    'dynet-shufflenetv2': (240, 2048, 0.8, 5e-5, 0.0, 0.1),
    'dynet-resnet': (100, 2048, 0.8, 5e-5, 0.0, 0.1),
}
# Adam at 1e-3, halved at these epochs: epochs, images per step, milestones.
DFN = {
    'dfn-steerable': (50, 64, (10, 20, 30, 40)),
    'dfn-moving-mnist': (100, 16, (20, 40, 60, 80)),
    'dfn-highway': (100, 16, (20, 40, 60, 80)),
    'dfn-stereo': (100, 16, (20, 40, 60, 80)),
}
PER_EPOCH = 10


def rate_of(name):
    """The learning rate of a recipe at a time in epochs, with 10 steps in each."""
    _, rate = make_optimizer(RECIPES[name].settings, PER_EPOCH, labels={})
    return lambda epochs: float(rate(round(epochs * PER_EPOCH)))


def test_the_recipes_are_those_of_the_methods():
    own = {'cifar10-200ep', 'cifar10-short', 'digits', 'steerable', 'video'}
    # The other tasks' have files of their own.
    tasks = ('classify', 'steerable', 'video')
    assert {name for name in RECIPES if RECIPES[name].settings.task in tasks} == {*PUBLISHED, *DFN, *own}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_numbers(name):
    epochs, batch, learning_rate, weight_decay, dropout, smoothing = PUBLISHED[name]
    settings = RECIPES[name].settings
    o = settings.optimization
    assert (settings.epochs, settings.images.batch_size) == (epochs, batch)
    assert (o.momentum, o.weight_decay, settings.network.dropout or 0) == (0.9, weight_decay, dropout)
    assert settings.augmentation.label_smoothing == smoothing
    begin = o.warmup_epochs
    assert rate_of(name)(begin) == pytest.approx(learning_rate * (0.97**2 if begin else 1))
    assert o.optimizer == ('rmsprop' if name.startswith('condconv') else 'sgd')
    assert not o.nesterov
    # What only the EfficientNets have.
    efficient = name.startswith('condconv')
    assert (o.ema, settings.network.drop_path, o.no_decay) == ((0.9999, 0.2, ('norm',)) if efficient else (None, 0, ()))


@pytest.mark.parametrize('name', DFN)
def test_published_numbers_of_dynamic_filter_networks(name):
    epochs, batch, halved = DFN[name]
    settings, rate = RECIPES[name].settings, rate_of(name)
    o = settings.optimization
    assert (settings.epochs, settings.images.batch_size, settings.images.image_size) == (epochs, batch, 64)
    assert (o.optimizer, o.momentum, o.weight_decay, o.clip_norm) == ('adamw', 0.9, 0.0, None)
    assert (SECOND_MOMENT[o.optimizer], EPSILON[o.optimizer]) == (0.999, 1e-8)
    assert (o.second_moment, o.epsilon, o.ema) == (None, None, None)
    for count, epoch in enumerate((0, *halved)):
        assert rate(epoch) == pytest.approx(1e-3 / 2**count)
        assert epoch == 0 or rate(epoch - 0.1) == pytest.approx(2e-3 / 2**count)
    assert rate(epochs - 0.1) == pytest.approx(1e-3 / 2 ** len(halved))
    if settings.images.data in ('noise', 'bouncing'):
        assert settings.drawn.train_examples == {'noise': 100, 'bouncing': 200}[settings.images.data] * batch


@pytest.mark.parametrize('name', ['odconv-resnet-100ep', 'dyconv-resnet-100ep'])
def test_steps_of_the_resnets(name):
    rate = rate_of(name)
    epochs = (0, 29.9, 30, 59.9, 60, 89.9, 90, 99.9)
    assert [rate(t) for t in epochs] == pytest.approx([0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])


def test_cosines():
    rate = rate_of('odconv-mobilenetv2-150ep')
    assert [rate(t) for t in (0, 0.9, 75, 75.9)] == pytest.approx([0.05, 0.05, 0.025, 0.025])
    rate = rate_of('dyconv-mobilenetv2-300ep')
    assert [rate(t) for t in (0, 75, 150)] == pytest.approx([0.05, 0.025 * (1 + math.sqrt(0.5)), 0.025])


def test_the_reimplementations_cifar_trainer():
    """`adjust_lr` is called with epochs from 1 and falls at 80, 120 and 136; `update_temperature` after each epoch."""
    rate, lr = rate_of('dyconv-cifar10-160ep'), 0.1
    settings = RECIPES['dyconv-cifar10-160ep'].settings
    temperature = schedules.temperature(settings.optimization.temperature, round(settings.annealed_epochs * PER_EPOCH))
    theirs = 34
    for epoch in range(1, 161):
        if epoch in (160 * 0.5, 160 * 0.75, 160 * 0.85):
            lr *= 0.1
        assert rate(epoch - 1) == rate(epoch - 0.1) == pytest.approx(lr)
        # Ours falls in every step, from where theirs is in an epoch to where it is in the next.
        assert theirs - 3 < float(temperature((epoch - 1) * PER_EPOCH)) <= theirs
        theirs = max(1, theirs - 3)
        assert float(temperature(epoch * PER_EPOCH - 1)) == pytest.approx(theirs)


def test_temperatures():
    for name, recipe in RECIPES.items():
        o = recipe.settings.optimization
        if name.startswith(('condconv', 'dynet')):
            assert (o.temperature, recipe.settings.annealed_epochs) == (1.0, 0.0)
        elif name in PUBLISHED and 'cifar' not in name:
            assert (o.temperature, recipe.settings.annealed_epochs) == (30.0, 10.0)


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_is_whole(name):
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.paper and recipe.expected and recipe.notes
    assert Settings.from_json(json.loads(json.dumps(recipe.settings.flat()))) == recipe.settings
    for network in experiment.networks(recipe.settings).values():
        experiment.build(network, 10, recipe.settings)


@pytest.mark.parametrize('name', RECIPES)
def test_the_command_trains_the_recipe(name):
    pytest.importorskip('tyro', reason='it reads the command line')
    words = shlex.split(RECIPES[name].command)
    assert words[:2] == ['flax-dynconv', 'train']
    arguments = parse(words[2:])
    given = arguments.settings.flat()
    usual = RECIPES[name].settings.flat()
    assert arguments.recipe == (name if {'--recipe', '--task'} & set(words) else '')
    assert {key for key in usual if given[key] != usual[key]} <= {'data'}


def test_files_open_with_paper_result_and_command():
    methods = [info.name for info in pkgutil.iter_modules(recipes.__path__) if info.name != 'recipe']
    assert len(methods) == 10
    for method in methods:
        text = importlib.import_module(f'{recipes.__name__}.{method}').__doc__
        assert all(f'\n{head}: ' in text for head in ('Paper', 'Expected', 'Command')), method


def test_cifar10_is_one_recipe_for_networks_of_equal_width():
    assert all(network in MODELS for network in cifar10.NETWORKS)
    full, short = (RECIPES[f'cifar10-{length}'] for length in ('200ep', 'short'))
    lengths = {'epochs', 'warmup_epochs', 'temperature_epochs', 'width'}
    assert {
        key for key in changed(full) | changed(short) if changed(full).get(key) != changed(short).get(key)
    } <= lengths
    assert full.settings.epochs == 200
    assert short.settings.network.width == 0.5


def test_unknown_names():
    with pytest.raises(ValueError, match=r"got 'odconv-resnet-90ep'; did you mean odconv-resnet-100ep"):
        find_recipe('odconv-resnet-90ep')
    with pytest.raises(ValueError, match=r"got 'zzz'; flax-dynconv recipes lists them"):
        find_recipe('zzz')


def test_the_command_lists_them(capsys):
    assert cli.main(['recipes']) == 0
    out = capsys.readouterr().out
    for recipe in RECIPES.values():
        assert recipe.name in out and recipe.paper in out and recipe.expected in out and recipe.command in out
    assert cli.main(['recipes', 'dynet-resnet']) == 0
    out = capsys.readouterr().out
    assert '  learning_rate = 0.8\n' in out
    assert 'epochs is not published' in out
    assert '  seed' not in out
    assert cli.main(['recipes', '--json']) == 0
    records = {record['name']: record for record in json.loads(capsys.readouterr().out)}
    assert records['digits']['settings']['epochs'] == Settings().epochs
    assert cli.main(['recipes', 'dynet-resent']) == 2
    assert 'did you mean dynet-resnet' in capsys.readouterr().err


def test_the_page_is_up_to_date():
    docs = pathlib.Path(__file__).parents[2] / 'docs'
    spec = importlib.util.spec_from_file_location('recipes_page', docs / 'recipes_page.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (docs / 'recipes.md').read_text() == module.page(), 'python docs/recipes_page.py > docs/recipes.md'
