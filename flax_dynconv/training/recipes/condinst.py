"""CondInst: instance segmentation by a small network for each instance; drawn shapes in minutes, or COCO as published.

Paper: Tian, Shen, Chen, "Conditional Convolutions for Instance Segmentation" (ECCV 2020); Tian et al., "BoxInst"
(CVPR 2021); AdelaiDet's settings.
Expected: box AP and mask AP of AdelaiDet on COCO val2017: 39.7 and 35.7 (ResNet-50, 1x), 43.3 and 38.6 (101, 3x).
Command: `flax-dynconv train --task instances`, or `--recipe condinst-coco-r50-1x --data FOLDER`.
"""

import math

from flax_dynconv.training.recipes.recipe import Recipe
from flax_dynconv.training.settings import Settings

_PAPER = (
    'Tian, Shen, Chen, "Conditional Convolutions for Instance Segmentation" (ECCV 2020, arXiv 2003.05664); settings '
    'and results of AdelaiDet, whose authors are those of the paper'
)
_BOXINST = (
    'Tian, Shen, Wang, Chen, "BoxInst: High-Performance Instance Segmentation with Box Annotations" (CVPR 2021); '
    "settings and results of AdelaiDet, the authors' own"
)
# Images of COCO's train2017 that have objects, and of a step: so many steps are an epoch.
_STEPS = 117266 // 16
# Iterations of all, of the two falls of the learning rate, and of warm-up.
_SCHEDULES = {'1x': (90000, 60000, 80000), '3x': (270000, 210000, 250000)}
_WARMUP = 1000
_NOTES = (
    'SGD; after 1,000 iterations of warm-up the learning rate is 0.01, and a tenth after each fall.',
    'AdelaiDet begins with weights from ImageNet and keeps stem, first stage and batch norm as they are; here the '
    'backbone begins at random, so all of it is trained, batch norm too: expect less.',
    'Every image lies on a canvas of 1344x1344 pixels, wide or high; detectron2 pads to the largest of a batch of '
    'wide or of high ones.',
    'Masks are trained at the 64 best locations of an image, in equal shares of its objects (AdelaiDet: 500 random '
    'ones of a GPU, or as here with TOPK_PROPOSALS_PER_IM).',
    'Test images have one scale and no mirror image.',
)


def _published(name, depth, schedule, expected, paper=_PAPER, notes=(), **values):
    iterations, *falls = _SCHEDULES[schedule]
    epochs = math.ceil(iterations / _STEPS)
    length = (
        f'{iterations:,} iterations of 16 images: {epochs} epochs of {_STEPS:,} full batches of the 117,266 images of '
        f'train2017 with objects, rounded up. Other data: --epochs and --milestones say how many.'
    )
    return Recipe(
        name=name,
        paper=paper,
        expected=expected,
        command=f'flax-dynconv train --recipe {name} --data FOLDER',
        settings=Settings(task='instances', epochs=epochs, twin=False).updated(
            model=f'condinst_resnet{depth}',
            data='coco',
            canvas=(1344, 1344),
            shorter_sides=(640, 672, 704, 736, 768, 800),
            resize=800,
            skip_empty=True,
            flip=0.5,
            batch_size=16,
            evaluation_batch_size=1,
            learning_rate=0.01,
            momentum=0.9,
            weight_decay=1e-4,
            no_decay=('norm',),
            schedule='step',
            milestones=tuple(round(fall / _STEPS, 4) for fall in falls),
            gamma=0.1,
            warmup_epochs=round(_WARMUP / _STEPS, 4),
            temperature=1.0,
            temperature_epochs=0.0,
            **({'arguments': '{"frozen_norm": false}'} | values),
        ),
        notes=(length, *notes, *_NOTES),
    )


RECIPES = (
    Recipe(
        name='instances',
        paper='none: a first run; the network of Tian, Shen, Chen (ECCV 2020) on a small backbone, on drawn shapes',
        expected='measured with seed 0: mask AP50 82.5 %, mask AP 50.4 %, box AP 63.0 %, in 5 minutes on two CPU cores',
        command='flax-dynconv train --task instances',
        settings=Settings(task='instances', epochs=10, twin=False).updated(
            model='condinst_resnet8',
            data='shapes',
            image_size=128,
            batch_size=8,
            evaluation_batch_size=16,
            train_examples=1600,
            test_examples=160,
            max_instances=8,
            max_positives=16,
            detections=12,
            optimizer='adamw',
            learning_rate=2e-3,
            weight_decay=1e-4,
            schedule='cosine',
            warmup_epochs=0.5,
            clip_norm=10.0,
            temperature=1.0,
            temperature_epochs=0.0,
        ),
        notes=('Every epoch has new pictures; the test pictures are the same in every run.',),
    ),
    _published('condinst-coco-r50-1x', 50, '1x', 'COCO val2017: box AP 39.7, mask AP 35.7'),
    _published('condinst-coco-r50-3x', 50, '3x', 'COCO val2017: box AP 41.9, mask AP 37.5'),
    _published('condinst-coco-r101-3x', 101, '3x', 'COCO val2017: box AP 43.3, mask AP 38.6'),
    _published(
        'condinst-coco-r50-3x-sem',
        50,
        '3x',
        'COCO val2017: box AP 42.6, mask AP 38.2',
        arguments='{"frozen_norm": false, "semantic": true}',
        notes=('With the loss of the class of every pixel at stride 8, which tests do not use.',),
    ),
    _published(
        'boxinst-coco-r50-1x',
        50,
        '1x',
        'COCO val2017: box AP 39.4, mask AP 30.7',
        paper=_BOXINST,
        arguments='{"frozen_norm": false, "mask_channels": 16}',
        mask_loss='boxinst',
        notes=('Without the masks of the annotations: boxes and the likeness of neighbouring colours are all.',),
    ),
)
