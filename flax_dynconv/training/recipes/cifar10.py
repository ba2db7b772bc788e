"""One recipe for all methods on CIFAR-10: ResNet-20, static and dynamic, at equal width.

Paper: none; a comparison of this library. The static network is that of He et al. (CVPR 2016, section 4.2).
Expected: He et al. report 91.25 % for the static ResNet-20 with another schedule.
Command: `flax-dynconv train --recipe cifar10-200ep --data cifar10.zip --model NAME` for each network.
"""

from flax_dynconv.training.recipes.recipe import Recipe
from flax_dynconv.training.settings import Settings

NETWORKS = ('resnet20', 'odconv_resnet20_4x', 'dyconv_resnet20_4x', 'condconv_resnet20_4x', 'dynet_resnet20')
_PAPER = 'none: a comparison of methods; the static network is He et al., "Deep Residual Learning" (CVPR 2016)'
_SETTINGS = Settings().updated(
    model='odconv_resnet20_4x',
    twin=False,
    data='cifar10.zip',
    batch_size=128,
    evaluation_batch_size=500,
    crop='padded',
    crop_padding=4,
    flip=0.5,
    optimizer='sgd',
    nesterov=True,
    learning_rate=0.1,
    weight_decay=5e-4,
    schedule='cosine',
)
_NOTES = (
    f'The same for each of --model {", ".join(NETWORKS)}.',
    "Augmentation is the usual one: a shift of up to 4 pixels, half of the images mirrored. He et al.'s own training: "
    'batch 128, learning rate 0.1, a tenth at steps 32,000 and 48,000 of 64,000, weight decay 1e-4, no Nesterov.',
    'CondConv and DyNet have no temperature and ignore it.',
)

RECIPES = (
    Recipe(
        name='cifar10-200ep',
        paper=_PAPER,
        expected='He et al. report 91.25 % for the static ResNet-20 with another schedule; nothing is published for '
        'the dynamic ones',
        command='flax-dynconv train --recipe cifar10-200ep --data cifar10.zip --model odconv_resnet20_4x --seed 0',
        settings=_SETTINGS.updated(epochs=200, warmup_epochs=5.0, temperature_epochs=10.0),
        notes=_NOTES,
    ),
    Recipe(
        name='cifar10-short',
        paper=_PAPER,
        expected='nothing is published; far below the full recipe, which it stands in for on a CPU',
        command='flax-dynconv train --recipe cifar10-short --data cifar10.zip --model odconv_resnet20_4x',
        settings=_SETTINGS.updated(width=0.5, epochs=2, warmup_epochs=0.25, temperature_epochs=0.5),
        notes=('Half of the channels and few epochs. The annealing of the temperature is as short.', *_NOTES),
    ),
)
