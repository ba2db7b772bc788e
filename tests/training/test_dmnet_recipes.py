"""DMNet's recipes: the published numbers, and the learning rate of mmsegmentation."""

import pytest

from flax_dynconv.training import experiment
from flax_dynconv.training.kinds import segment
from flax_dynconv.training.optimizers import make_optimizer
from flax_dynconv.training.recipes import RECIPES
from flax_dynconv.training.settings import Settings

# Network, crop, images per step, iterations, images of the training set, mIoU.
PUBLISHED = {
    'dmnet-cityscapes-r50-80k': ('dmnet_resnet50', (512, 1024), 8, 80_000, 2975, '79.07'),
    'dmnet-cityscapes-r101-80k': ('dmnet_resnet101', (512, 1024), 8, 80_000, 2975, '79.64'),
    'dmnet-cityscapes-r50-769-80k': ('dmnet_resnet50', (769, 769), 8, 80_000, 2975, '79.22'),
    'dmnet-cityscapes-r101-769-80k': ('dmnet_resnet101', (769, 769), 8, 80_000, 2975, '79.19'),
    'dmnet-ade20k-r50-160k': ('dmnet_resnet50', (512, 512), 16, 160_000, 20210, '43.15'),
    'dmnet-ade20k-r101-160k': ('dmnet_resnet101', (512, 512), 16, 160_000, 20210, '45.42'),
}


def test_the_recipes_are_those_of_the_table_and_a_quick_one():
    found = {name for name, recipe in RECIPES.items() if recipe.settings.task == 'segment'}
    assert found == {*PUBLISHED, segment.RECIPE}
    assert segment.FULL in PUBLISHED


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_numbers(name):
    model, crop, batch_size, iterations, images, miou = PUBLISHED[name]
    recipe = RECIPES[name]
    settings, o = recipe.settings, recipe.settings.optimization
    assert (settings.network.model, settings.segmentation.crop_size) == (model, crop)
    assert settings.images.batch_size == batch_size
    steps = images // batch_size
    assert (settings.epochs - 1) * steps < iterations <= settings.epochs * steps
    assert (o.optimizer, o.learning_rate, o.momentum, o.weight_decay) == ('sgd', 0.01, 0.9, 5e-4)
    assert (o.warmup_epochs, o.clip_norm, o.nesterov, o.no_decay) == (0.0, None, False, ())
    chosen = settings.segmentation
    assert (chosen.scale_range, chosen.crop_share, settings.augmentation.flip) == ((0.5, 2.0), 0.75, 0.5)
    assert (chosen.auxiliary_weight, chosen.pixel_average, chosen.ignore_label) == (0.4, 'all', 255)
    assert chosen.inference == ('slide' if crop == (769, 769) else 'whole')
    assert chosen.reduce_zero_label == ('ade20k' in name)
    assert miou in recipe.expected
    network = experiment.build(model, 19, settings)
    assert (network.num_classes, network.align_corners) == (19, crop == (769, 769))
    assert list(experiment.networks(settings)) == ['dynamic']


def test_windows_of_the_square_crops():
    facts = segment.pixel_facts(RECIPES['dmnet-cityscapes-r50-769-80k'].settings)
    assert (facts.window, facts.window_stride) == ((769, 769), (513, 513))
    assert segment.pixel_facts(Settings().updated(crop_size=(769, 769))).window_stride == (513, 513)


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_learning_rate_falls_as_in_mmsegmentation(name):
    """Its `poly` policy (mmcv 1.x): (base - least) * (1 - t / T) ** power + least, in every iteration."""
    settings = RECIPES[name].settings
    _, _, batch_size, _, images, _ = PUBLISHED[name]
    steps = images // batch_size
    _, rate = make_optimizer(settings, steps, labels={})
    total = settings.epochs * steps
    for step in (0, 1, 1000, total // 3, total // 2, total - 1000, total - 1, total):
        expected = (0.01 - 1e-4) * (1 - step / total) ** 0.9 + 1e-4
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5)


def test_the_learning_rate_is_a_recursion_from_value_to_value():
    """The form in which mmengine's PolyLR computes it."""
    settings = RECIPES['dmnet-cityscapes-r50-80k'].settings.updated(epochs=5)
    _, rate = make_optimizer(settings, 20, labels={})
    value, total = 0.01, 100
    for step in range(1, total):
        value = (value - 1e-4) * (1 - 1 / (total - step + 1)) ** 0.9 + 1e-4
        assert float(rate(step)) == pytest.approx(value, rel=1e-5)
