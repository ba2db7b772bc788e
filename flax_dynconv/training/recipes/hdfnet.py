"""HDFNet: salient objects in images with depth, by filters that are made for every position.

Paper: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020).
Expected: the slides' figures of eight data sets; on NJUD max F .924 (VGG-16), .922 (VGG-19) and .922 (ResNet-50).
Command: `flax-dynconv train --task saliency`, or `--recipe hdfnet-vgg19-30ep --data FOLDER`.
"""

from flax_dynconv.training.recipes.recipe import Recipe
from flax_dynconv.training.settings import Settings

_PAPER = (
    'Pang, Zhang, Zhao, Lu, "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); '
    "settings of the authors' code, lartpang/HDFNet, results of their slides"
)
_NOTES = (
    'FOLDER holds train/{RGB,depth,mask} and test/{RGB,depth,mask}. Published: 1,485 images of NJUD and 700 of NLPR '
    'for training; DUT-RGBD has a network of its own, trained on its 800 images.',
    'The learning rate is multiplied by (1 - epoch / 30) ** 0.9 after every epoch, on top of what it was: the code '
    'does that where a polynomial is meant, and after epoch 15 hardly anything changes. --schedule polynomial is '
    'the true one.',
    'Published networks begin with weights from ImageNet in both encoders; here they begin at random, unless a program '
    'of your own loads them (models.with_encoder_weights): expect less.',
    'There weight decay leaves out what is called bias or bn, here also the scales of norms, which have other names in '
    'the VGGs and in the decoder there.',
    'The code scales both axes in one call of PIL; here one after the other. Depth is from 0 to 1, not standardised.',
)


def _published(name, model, expected):
    return Recipe(
        name=name,
        paper=_PAPER,
        expected=f'max F, adaptive F, weighted F, MAE, S, E, by the slides: {expected}',
        command=f'flax-dynconv train --recipe {name} --data FOLDER',
        settings=Settings(task='saliency', epochs=30, seed=0, twin=False).updated(
            model=model,
            data='rgbd',
            image_size=320,
            batch_size=4,
            flip=0.5,
            rotation=10.0,
            color_jitter=0.1,
            enhanced_weight=1.0,
            learning_rate=0.005,
            momentum=0.9,
            weight_decay=5e-4,
            no_decay=('bias',),
            schedule='compound-polynomial',
            power=0.9,
            warmup_epochs=0.0,
            temperature=1.0,
            temperature_epochs=0.0,
        ),
        notes=_NOTES,
    )


RECIPES = (
    Recipe(
        name='saliency',
        paper='none: a first run; the network of Pang et al. (ECCV 2020) on a small encoder, on drawn scenes',
        expected='of the 120 test scenes, measured with seed 0: mean F 94.0 %, adaptive F 96.0 %, MAE 0.027',
        command='flax-dynconv train --task saliency',
        settings=Settings(task='saliency', epochs=6, twin=False).updated(
            model='hdfnet_resnet8',
            data='scenes',
            image_size=40,
            batch_size=16,
            evaluation_batch_size=40,
            train_examples=960,
            test_examples=120,
            optimizer='adamw',
            learning_rate=4e-3,
            weight_decay=1e-4,
            schedule='cosine',
            warmup_epochs=0.2,
            temperature=1.0,
            temperature_epochs=0.0,
        ),
        notes=(
            'With the depth of another scene (flax-dynconv evaluate RUN --depth-from other) mean F is 44.5 %, with '
            'flat depth 60.9 %.',
            'Every epoch has new scenes; the test scenes are the same in every run.',
            'A third of the objects shows in depth alone, a third in colour alone; hollows show in both and are none.',
        ),
    ),
    _published(
        'hdfnet-vgg16-30ep',
        'hdfnet_vgg16',
        'NJUD .924 .894 .881 .037 .911 .934, NLPR .917 .878 .869 .027 .916 .948, SIP .904 .863 .835 .050 .878 .920',
    ),
    _published(
        'hdfnet-vgg19-30ep',
        'hdfnet_vgg19',
        'NJUD .922 .887 .877 .038 .911 .932, NLPR .919 .883 .871 .027 .915 .951, SIP .907 .870 .844 .047 .885 .924',
    ),
    _published(
        'hdfnet-resnet50-30ep',
        'hdfnet_resnet50',
        'NJUD .922 .889 .877 .038 .908 .932, NLPR .927 .889 .882 .023 .923 .957, SIP .910 .875 .848 .047 .886 .924',
    ),
)
