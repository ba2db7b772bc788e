"""The recipes of CondInst and BoxInst: steps, schedule and settings of AdelaiDet's published runs."""

import json

import jax
import pytest

from flax_dynconv.training import experiment
from flax_dynconv.training.instances import boxinst
from flax_dynconv.training.kinds import instances
from flax_dynconv.training.optimizers import make_optimizer
from flax_dynconv.training.recipes import RECIPES

# Iterations of the whole run and of the falls of the learning rate.
PUBLISHED = {
    'condinst-coco-r50-1x': (90000, 60000, 80000),
    'condinst-coco-r50-3x': (270000, 210000, 250000),
    'condinst-coco-r101-3x': (270000, 210000, 250000),
    'condinst-coco-r50-3x-sem': (270000, 210000, 250000),
    'boxinst-coco-r50-1x': (90000, 60000, 80000),
}
STEPS = 117266 // 16
PARAMETERS = {'boxinst-coco-r50-1x': 233}


def test_the_recipes_are_those_of_the_method():
    assert {name for name, recipe in RECIPES.items() if recipe.settings.task == 'instances'} == {
        'instances',
        *PUBLISHED,
    }
    assert instances.RECIPE in RECIPES and instances.FULL in PUBLISHED


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_learning_rate_is_that_of_the_iterations(name):
    settings, (iterations, first, second) = RECIPES[name].settings, PUBLISHED[name]
    assert STEPS * (settings.epochs - 1) < iterations <= STEPS * settings.epochs
    _, rate = make_optimizer(settings, STEPS, labels={})
    for step, expected in ((500, 0.005), (2000, 0.01), (first - 100, 0.01), (first + 100, 1e-3), (second + 100, 1e-4)):
        assert float(rate(step)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize('name', PUBLISHED)
def test_networks_and_images(name):
    settings = RECIPES[name].settings
    assert settings.images.batch_size == 16 and settings.images.resize == 800
    assert settings.instances.shorter_sides == (640, 672, 704, 736, 768, 800)
    assert settings.instances.longer_side == 1333 and settings.instances.canvas == (1344, 1344)
    model = experiment.build(settings.network.model, 80, settings)
    assert model.num_parameters == PARAMETERS.get(name, 169)
    assert model.semantic == name.endswith('-sem') and not model.frozen_norm
    assert (settings.instances.mask_loss == 'boxinst') == name.startswith('boxinst')
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), 'float32')
    maps = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], images)
    assert [level.shape[1] for level in maps.logits] == [8, 4, 2, 1, 1] and maps.logits[0].shape[-1] == 80


def test_numbers_of_boxinst():
    chosen = RECIPES['boxinst-coco-r50-1x'].settings.instances
    assert (chosen.max_positives, chosen.pairwise_warmup, chosen.bottom_rows) == (64, 10000, 10)
    assert (boxinst.SIZE, boxinst.DILATION, boxinst.COLOR_THRESHOLD) == (3, 2, 0.3)


def test_arguments_are_json():
    for name in PUBLISHED:
        assert json.loads(RECIPES[name].settings.network.arguments)['frozen_norm'] is False
