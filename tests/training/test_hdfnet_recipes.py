"""HDFNet's recipes: the published numbers, and the learning rate of the authors' trainer."""

import pytest

from flax_dynconv.models import HDFNet
from flax_dynconv.training import experiment
from flax_dynconv.training.kinds import saliency
from flax_dynconv.training.optimizers import make_optimizer
from flax_dynconv.training.recipes import RECIPES

# Network, and max F on NJUD and NLPR.
PUBLISHED = {
    'hdfnet-vgg16-30ep': ('hdfnet_vgg16', '.924', '.917'),
    'hdfnet-vgg19-30ep': ('hdfnet_vgg19', '.922', '.919'),
    'hdfnet-resnet50-30ep': ('hdfnet_resnet50', '.922', '.927'),
}


def test_the_recipes_are_those_of_the_table_and_a_quick_one():
    found = {name for name, recipe in RECIPES.items() if recipe.settings.task == 'saliency'}
    assert found == {*PUBLISHED, saliency.RECIPE}
    assert saliency.FULL in PUBLISHED


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_numbers(name):
    model, *figures = PUBLISHED[name]
    recipe = RECIPES[name]
    settings, o, a = recipe.settings, recipe.settings.optimization, recipe.settings.augmentation
    assert (settings.network.model, settings.epochs, settings.seed) == (model, 30, 0)
    assert (settings.images.batch_size, settings.images.image_size) == (4, 320)
    assert (o.optimizer, o.learning_rate, o.momentum, o.weight_decay) == ('sgd', 0.005, 0.9, 5e-4)
    assert (o.nesterov, o.no_decay, o.warmup_epochs, o.clip_norm) == (False, ('bias',), 0.0, None)
    assert (a.flip, a.color_jitter, settings.saliency.rotation) == (0.5, 0.1, 10.0)
    assert settings.saliency.enhanced_weight == 1.0
    assert [float(value) for value in figures] == [
        float(part.split()[1]) for part in recipe.expected.split(': ')[1].split(', ')[:2]
    ]
    network = experiment.build(model, 1, settings)
    assert isinstance(network, HDFNet) and not network.probabilities
    assert saliency.scene_facts(settings)[0] == 320
    assert experiment.networks(settings) == {'dynamic': model}


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_learning_rate_is_multiplied_after_every_epoch(name):
    """On top of what it was: 3.1e-3 after 5 epochs, 7.6e-4 after 10, 5.8e-5 after 15."""
    _, rate = make_optimizer(RECIPES[name].settings, 10, labels={})
    value = 0.005
    for epoch in range(30):
        value *= (1 - epoch / 30) ** 0.9
        assert float(rate(10 * epoch)) == float(rate(10 * epoch + 9)) == pytest.approx(value, rel=1e-5)
        expected = {5: 3.1e-3, 10: 7.6e-4, 15: 5.8e-5}.get(epoch)
        assert expected is None or value == pytest.approx(expected, rel=0.02)
