"""DyNet's recipes.

Paper: Zhang et al., "DyNet: Dynamic Convolution for Accelerating Convolutional Neural Networks" (arXiv:2004.10694; text
of the ICLR 2020 submission); no code was published, and no number of epochs.
Expected: top-1 on ImageNet, MobileNetV2 71.73 %, ShuffleNetV2 70.4 %, ResNet-18 68.99 %, ResNet-50 76.25 %.
Command: `flax-dynconv train --recipe dynet-mobilenetv2 --data FOLDER`.
"""

from flax_dynconv.training.recipes.recipe import Recipe, imagenet

_PAPER = (
    'Zhang, Zhang, Wang, Zhong, "DyNet: Dynamic Convolution for Accelerating Convolutional Neural Networks" '
    '(arXiv:2004.10694; settings and results from the ICLR 2020 submission); no code was published'
)
_NOTES = (
    "The number of epochs is not published; the one here is this library's choice.",
    'The paper gives SGD with momentum 0.9, batch 2048, learning rate 0.8, cosine, weight decay 5e-5, label smoothing '
    '0.1, random crops and mirror images, for all of its networks. It mentions no warm-up; should 0.8 diverge: '
    '--warmup-epochs 5.',
    'Initialisation is not described. The coefficients are sigmoids and have no temperature.',
)


def _settings(model, epochs):
    return imagenet(
        model=model,
        epochs=epochs,
        batch_size=2048,
        learning_rate=0.8,
        weight_decay=5e-5,
        schedule='cosine',
        label_smoothing=0.1,
        temperature=1.0,
        temperature_epochs=0.0,
    )


RECIPES = (
    Recipe(
        name='dynet-mobilenetv2',
        paper=_PAPER,
        expected=(
            'top-1 on ImageNet: 71.73 at 129 M multiply-adds (static MobileNetV2 72.00 at 298 M, a static network of '
            'its own shape 66.43); MobileNetV3 small 70.3, large 77.1 (abstract of the arXiv version)'
        ),
        command='flax-dynconv train --recipe dynet-mobilenetv2 --data FOLDER',
        settings=_settings('dynet_mobilenetv2', 240),
        notes=(
            *_NOTES,
            'For --model dynet_mobilenetv3_small and dynet_mobilenetv3_large only results are known, no training.',
        ),
    ),
    Recipe(
        name='dynet-shufflenetv2',
        paper=_PAPER,
        expected=(
            'top-1 on ImageNet: width 1.0 70.4 at 88 M multiply-adds (static ShuffleNetV2 69.4 at 146 M), width 1.5 '
            '72.52 at 171 M'
        ),
        command='flax-dynconv train --recipe dynet-shufflenetv2 --data FOLDER --model dynet_shufflenetv2_100',
        settings=_settings('dynet_shufflenetv2_100', 240),
        notes=_NOTES,
    ),
    Recipe(
        name='dynet-resnet',
        paper=_PAPER,
        expected=(
            'top-1 on ImageNet: ResNet-18 68.99 at 550 M multiply-adds (static 69.59 at 1730 M), ResNet-50 76.25 at '
            '1075 M (static 76.33 at 3890 M)'
        ),
        command='flax-dynconv train --recipe dynet-resnet --data FOLDER --model dynet_resnet18',
        settings=_settings('dynet_resnet18', 100),
        notes=_NOTES,
    ),
)
