"""CondConv's EfficientNet recipe.

Paper: Yang et al., "CondConv" (NeurIPS 2019); settings of tensorflow/tpu, `models/official/efficientnet`.
Expected: top-1 on ImageNet, B0 with 4 kernels 77.8 %, with 8 78.3 %, deeper with 8 79.5 %.
Command: `flax-dynconv train --recipe condconv-efficientnet-350ep --data FOLDER`.
"""

from flax_dynconv.training.recipes.recipe import Recipe, imagenet

RECIPES = (
    Recipe(
        name='condconv-efficientnet-350ep',
        paper=(
            'Yang, Bender, Le, Ngiam, "CondConv: Conditionally Parameterized Convolutions for Efficient Inference" '
            '(NeurIPS 2019, arXiv:1904.04971); settings of the released code, tensorflow/tpu '
            'models/official/efficientnet (main.py, utils.py, condconv/), and of timm'
        ),
        expected=(
            'top-1 on ImageNet: condconv_efficientnet_b0_4e 77.8, _b0_8e 78.3, _b1_8e 79.5; static efficientnet_b0 '
            '77.3, _b1 79.2 (condconv/README.md; timm measures 77.32, 77.96 and 79.32 with the released weights)'
        ),
        command='flax-dynconv train --recipe condconv-efficientnet-350ep --data FOLDER',
        settings=imagenet(
            model='condconv_efficientnet_b0_4e',
            epochs=350,
            batch_size=2048,
            optimizer='rmsprop',
            learning_rate=0.256,
            learning_rate_batch=2048,
            momentum=0.9,
            second_moment=0.9,
            epsilon=1e-3,
            weight_decay=1e-5,
            no_decay=('norm',),
            schedule='exponential',
            gamma=0.97,
            decay_epochs=2.4,
            staircase=True,
            warmup_epochs=5.0,
            ema=0.9999,
            label_smoothing=0.1,
            dropout=0.25,
            drop_path=0.2,
            randaugment=2,
            randaugment_magnitude=9.0,
            dtype='bfloat16',
            temperature=1.0,
            temperature_epochs=0.0,
        ),
        notes=(
            'AutoAugment is not implemented: RandAugment of 2 operations and strength 9 stands in for it.',
            "Learning rate: 0.256 for 2048 images, as timm's documentation records it for these weights; another batch "
            "size scales it. The code's own default is 0.016 for each 256 images, half of that: --learning-rate 0.128.",
            'The learning rate falls from step 0 in stairs of 2.4 epochs; the warm-up of 5 epochs replaces the '
            'beginning. Batch norms do not decay. What is evaluated is an average of decay 0.9999, slower at first.',
            "The networks' batch norm keeps 0.99 of its statistics. On a TPU pod the code takes the statistics of a "
            'group of cores, here of the whole batch, or --batch-statistics device.',
            'Dropout 0.25 and stochastic depth 0.2 are those of the table of the models in the code (timm: 0.2, 0.2).',
            'For some other networks the paper adds mixup of alpha 0.2 (recalled, not verified): --mixup 0.2.',
            'The routing is a sigmoid and has no temperature.',
        ),
    ),
)
