"""DMNet: segmentation by filters of several sizes that are made from each image.

Paper: He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation" (ICCV 2019); mmsegmentation's settings.
Expected: mIoU of mmsegmentation's runs: Cityscapes 79.07 (ResNet-50) and 79.64 (ResNet-101), ADE20K 43.15 and 45.42.
Command: `flax-dynconv train --task segment`, or `--recipe dmnet-cityscapes-r50-80k --data FOLDER`.

Longer than other files: it is a table, one entry for each published training.
"""

import math

from flax_dynconv.training.recipes.recipe import Recipe
from flax_dynconv.training.settings import Settings

_PAPER = (
    'He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation" (ICCV 2019); settings and results of '
    "mmsegmentation (configs/dmnet, schedules), whose head is the authors' own"
)
# Images of the training sets, and of a step.
_CITYSCAPES, _ADE20K = (2975, 8), (20210, 16)
_NOTES = (
    'SGD; the learning rate falls as (1 - t) ** 0.9 from 0.01 to 1e-4, in every step, without warm-up or clipping.',
    'mmsegmentation begins with weights from ImageNet; here the backbone begins at random, unless a program of your '
    'own loads weights (convert): expect less.',
    'Its PhotoMetricDistortion is --color-jitter 0.4 here, without the change of hue; its images are scaled without '
    "PIL's antialiasing. Scale, crop and flip are recalled and not verified.",
    'The loss is divided by all pixels, also ignored ones, as there: --pixel-average valid divides by the others.',
    "There batch norm sees all GPUs' images (SyncBN), as here. Test images have one scale and no mirror image.",
)


def epochs_of(iterations, images, batch_size):
    """Epochs that have at least so many iterations, where what is left over in an epoch is not trained on.

    >>> epochs_of(80000, *_CITYSCAPES), epochs_of(160000, *_ADE20K)
    (216, 127)
    """
    return math.ceil(iterations / (images // batch_size))


def _published(name, iterations, counts, expected, notes=(), **values):
    images, batch_size = counts
    epochs = epochs_of(iterations, images, batch_size)
    length = (
        f'{iterations:,} iterations of {batch_size} images: {epochs} epochs of {images // batch_size} full batches '
        f'of the {images:,} training images, rounded up. Other data: --epochs says how many.'
    )
    return Recipe(
        name=name,
        paper=_PAPER,
        expected=expected,
        command=f'flax-dynconv train --recipe {name} --data FOLDER',
        settings=Settings(task='segment', epochs=epochs, twin=False).updated(
            batch_size=batch_size,
            evaluation_batch_size=1,
            flip=0.5,
            color_jitter=0.4,
            learning_rate=0.01,
            momentum=0.9,
            weight_decay=5e-4,
            schedule='polynomial',
            power=0.9,
            final_learning_rate=1e-4,
            warmup_epochs=0.0,
            temperature=1.0,
            temperature_epochs=0.0,
            **values,
        ),
        notes=(length, *notes, *_NOTES),
    )


def _cityscapes(depth, name, crop, expected, notes=(), **values):
    return _published(
        f'dmnet-cityscapes-{name}-80k',
        80000,
        _CITYSCAPES,
        expected,
        notes,
        model=f'dmnet_resnet{depth}',
        data='cityscapes',
        crop_size=crop,
        **values,
    )


def _ade20k(depth, expected):
    return _published(
        f'dmnet-ade20k-r{depth}-160k',
        160000,
        _ADE20K,
        expected,
        (
            'FOLDER holds images/{training,validation} and annotations/{training,validation}, whose 0 is no class.',
            'Test images are scaled to a shorter side of 512, and so are their labels, by the nearest pixel; '
            'mmsegmentation scales the prediction back and measures at the size of the labels.',
            'Images of a batch have one size here: each is filled up to the largest height and width of the test '
            "images with the mean colour, and this margin enters the pooled filters, which mmsegmentation's test "
            'of each image at its own size does not have. So an mIoU measured here is not quite the published one.',
        ),
        model=f'dmnet_resnet{depth}',
        data='ade20k',
        crop_size=(512, 512),
        resize=512,
        reduce_zero_label=True,
    )


_SLIDING = {
    'arguments': '{"align_corners": true}',
    'inference': 'slide',
    'window': (769, 769),
    'window_stride': (513, 513),
}
_SLIDING_NOTE = 'Corners aligned and windows of 769 pixels, 513 apart: recalled and not verified.'

RECIPES = (
    Recipe(
        name='segment',
        paper='none: a first run; the head of He, Deng, Qiao (ICCV 2019) on a small backbone, on drawn shapes',
        expected='mIoU of the 160 test pictures, measured with seed 0: 89.1 %, in about 3 minutes on two CPU cores',
        command='flax-dynconv train --task segment',
        settings=Settings(task='segment', epochs=12, twin=False).updated(
            model='dmnet_resnet8',
            data='shapes',
            image_size=48,
            crop_size=(48, 48),
            scale_range=(1.0, 1.0),
            batch_size=16,
            evaluation_batch_size=32,
            train_examples=1600,
            test_examples=160,
            optimizer='adamw',
            learning_rate=3e-3,
            weight_decay=1e-4,
            schedule='polynomial',
            power=0.9,
            final_learning_rate=1e-5,
            warmup_epochs=0.2,
            temperature=1.0,
            temperature_epochs=0.0,
        ),
        notes=(
            'Every epoch has new pictures; the test pictures are the same in every run.',
            '--twin trains FCN on the same backbone too, with two static convolutions for the dynamic head: 90.8 %.',
        ),
    ),
    _cityscapes(50, 'r50', (512, 1024), 'mIoU on Cityscapes val: 79.07; after 40k iterations (--epochs 108) 77.78'),
    _cityscapes(101, 'r101', (512, 1024), 'mIoU on Cityscapes val: 79.64; after 40k iterations (--epochs 108) 78.37'),
    _cityscapes(
        50,
        'r50-769',
        (769, 769),
        'mIoU on Cityscapes val: 79.22; after 40k iterations (--epochs 108) 78.49',
        (_SLIDING_NOTE,),
        **_SLIDING,
    ),
    _cityscapes(
        101,
        'r101-769',
        (769, 769),
        'mIoU on Cityscapes val: 79.19; after 40k iterations (--epochs 108) 77.62',
        (_SLIDING_NOTE,),
        **_SLIDING,
    ),
    _ade20k(50, 'mIoU on ADE20K val: 43.15; after 80k iterations (--epochs 64) 42.37'),
    _ade20k(101, 'mIoU on ADE20K val: 45.42; after 80k iterations (--epochs 64) 45.34'),
)
