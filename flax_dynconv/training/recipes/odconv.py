"""ODConv's ImageNet recipes.

Paper: Li, Zhou, Yao, "Omni-Dimensional Dynamic Convolution" (ICLR 2022); settings of OSVAI/ODConv, `main.py`.
Expected: top-1 on ImageNet, ResNet-18 74.19 %, ResNet-50 78.50 %, MobileNetV2 75.29 %, four kernels each.
Command: `flax-dynconv train --recipe odconv-resnet-100ep --data FOLDER`.
"""

from flax_dynconv.training.recipes.recipe import Recipe, imagenet

_PAPER = (
    'Li, Zhou, Yao, "Omni-Dimensional Dynamic Convolution" (ICLR 2022, arXiv:2209.07947); settings of the released '
    'code, OSVAI/ODConv main.py and README'
)
_SHARED = {'batch_size': 256, 'temperature': 30.0, 'temperature_epochs': 10.0, 'dropout': 0.2}
_NOTES = (
    'All parameters decay, attention, norms and biases too; no warm-up, label smoothing, mixup or average of weights.',
    'There batch norm sees the images of one GPU, 32 of 256 with the eight of the README; here the whole batch, or '
    '--batch-statistics device.',
    'There the last, smaller batch of an epoch is trained on, too; here it is left out.',
    'The results are those of the released weights, which differ slightly from the paper (its ResNet-18: 73.97).',
    'The README gives dropout 0.2 as an example for ResNet-18 and MobileNetV2 1.0; that of the other models is not '
    'published.',
)

RECIPES = (
    Recipe(
        name='odconv-resnet-100ep',
        paper=_PAPER,
        expected=(
            'top-1 / top-5 on ImageNet, 4x: ResNet-18 74.19 / 91.47, ResNet-50 78.50 / 93.99, ResNet-101 (2x) 79.15 / '
            '94.34; 1x: 73.05, 77.87, 78.84; static: 70.25, 76.23, 77.44'
        ),
        command='flax-dynconv train --recipe odconv-resnet-100ep --data FOLDER --model odconv_resnet18_4x',
        settings=imagenet(
            **_SHARED,
            model='odconv_resnet18_4x',
            epochs=100,
            learning_rate=0.1,
            weight_decay=1e-4,
            schedule='step',
            milestones=(30.0, 60.0, 90.0),
            gamma=0.1,
        ),
        notes=_NOTES,
    ),
    Recipe(
        name='odconv-mobilenetv2-150ep',
        paper=_PAPER,
        expected=(
            'top-1 / top-5 on ImageNet, 4x: width 1.0 75.29 / 92.18, 0.75 74.01 / 91.37, 0.5 70.23 / 88.86; 1x: 74.74, '
            '72.71, 68.06; static: 71.65, 69.18, 64.30'
        ),
        command='flax-dynconv train --recipe odconv-mobilenetv2-150ep --data FOLDER --model odconv_mobilenetv2_100_4x',
        settings=imagenet(
            **_SHARED,
            model='odconv_mobilenetv2_100_4x',
            epochs=150,
            learning_rate=0.05,
            weight_decay=4e-5,
            schedule='cosine',
            per_epoch=True,
        ),
        notes=('The cosine changes between epochs only, as there.', *_NOTES),
    ),
)
