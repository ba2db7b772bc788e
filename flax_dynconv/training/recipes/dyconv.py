"""DY-CNN's recipes: the paper's for ImageNet, and the CIFAR-10 trainer of its best-known reimplementation.

Paper: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels" (CVPR 2020); no code was published.
Expected: top-1 on ImageNet, MobileNetV2 75.2 %, MobileNetV3-Small 70.3 %, ResNet-18 72.7 %.
Command: `flax-dynconv train --recipe dyconv-mobilenetv2-300ep --data FOLDER`.
"""

from flax_dynconv.training.recipes.recipe import Recipe, imagenet
from flax_dynconv.training.settings import Settings

_PAPER = (
    'Chen, Dai, Liu, Chen, Yuan, Liu, "Dynamic Convolution: Attention over Convolution Kernels" (CVPR 2020, '
    'arXiv:1912.03458); no code was published'
)
_RECALLED = (
    'Second-hand: optimiser, learning rate, schedule, weight decay, dropout and epochs are recalled from the paper and '
    'not verified; the results are quoted from papers that cite it.'
)
_TEMPERATURE = 'The temperature falls from 30 to 1 over the first 10 epochs, as in the paper; here in every step.'
_SHARED = {'batch_size': 256, 'temperature': 30.0, 'temperature_epochs': 10.0}

RECIPES = (
    Recipe(
        name='dyconv-mobilenetv2-300ep',
        paper=_PAPER,
        expected='top-1 on ImageNet: width 1.0 75.2 (static 72.0), width 0.5 69.9 (static 65.4)',
        command='flax-dynconv train --recipe dyconv-mobilenetv2-300ep --data FOLDER --model dyconv_mobilenetv2_100_4x',
        settings=imagenet(
            **_SHARED,
            model='dyconv_mobilenetv2_100_4x',
            epochs=300,
            learning_rate=0.05,
            weight_decay=4e-5,
            schedule='cosine',
            dropout=0.2,
        ),
        notes=(_RECALLED, 'Dropout is recalled as 0.1 to 0.2, by width.', _TEMPERATURE),
    ),
    Recipe(
        name='dyconv-mobilenetv3-300ep',
        paper=_PAPER,
        expected='top-1 on ImageNet: MobileNetV3-Small 70.3 (static 67.4)',
        command='flax-dynconv train --recipe dyconv-mobilenetv3-300ep --data FOLDER',
        settings=imagenet(
            **_SHARED,
            model='dyconv_mobilenetv3_small_4x',
            epochs=300,
            learning_rate=0.1,
            weight_decay=2e-5,
            schedule='cosine',
        ),
        notes=(
            _RECALLED,
            'Batch size and dropout are not recorded: here 256, as for the other networks, and none.',
            _TEMPERATURE,
        ),
    ),
    Recipe(
        name='dyconv-resnet-100ep',
        paper=_PAPER,
        expected=(
            'top-1 on ImageNet: ResNet-18 72.7 (static 70.4), ResNet-10 67.7 (static 63.5); ResNet-18 as ODConv and '
            'KernelWarehouse train it 72.76'
        ),
        command='flax-dynconv train --recipe dyconv-resnet-100ep --data FOLDER --model dyconv_resnet18_4x',
        settings=imagenet(
            **_SHARED,
            model='dyconv_resnet18_4x',
            epochs=100,
            learning_rate=0.1,
            weight_decay=1e-4,
            schedule='step',
            milestones=(30.0, 60.0, 90.0),
            dropout=0.1,
        ),
        notes=(
            _RECALLED,
            'The epochs at which the learning rate falls to a tenth are not recorded: 30, 60 and 90, the usual ones.',
            'Batch size 256 is recorded for MobileNetV2 and taken from there.',
            _TEMPERATURE,
        ),
    ),
    Recipe(
        name='dyconv-cifar10-160ep',
        paper=(
            'The trainer of kaijieshi7/Dynamic-convolution-Pytorch (main.py), a reimplementation of Chen et al., '
            '"Dynamic Convolution" (CVPR 2020)'
        ),
        expected=(
            'no result of its ResNet-18 is published; its README had 90.33 % on CIFAR-10 for a dynamic VGG-11 and '
            '89.29 % for the static one, networks that are not here'
        ),
        command='flax-dynconv train --recipe dyconv-cifar10-160ep --data cifar10.zip',
        settings=Settings().updated(
            model='dyconv_resnet18_4x',
            twin=False,
            data='cifar10.zip',
            image_size=32,
            resize=32,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
            epochs=160,
            batch_size=128,
            crop='padded',
            crop_padding=4,
            flip=0.5,
            learning_rate=0.1,
            weight_decay=1e-4,
            schedule='step',
            milestones=(79.0, 119.0, 135.0),
            gamma=0.1,
            warmup_epochs=0.0,
            temperature=34.0,
            temperature_epochs=11.0,
        ),
        notes=(
            'Its ResNet-18 is the one for ImageNet, with a stride of 32, on images of 32 pixels; dyconv_resnet20_4x is '
            'made for them.',
            'The learning rate falls at 50, 75 and 85 % of the epochs, which it counts from 1: after 79, 119 and 135.',
            'There the temperature is 34 and falls by 3 after each epoch, to 1 after 11; here in every step, evenly.',
            'The standard deviations are those that the trainer divides by.',
        ),
    ),
)
