"""Salient objects in images with depth, by a network of `SALIENCY_NETWORKS` or `HDFNet` on another encoder."""

import functools
import json
from pathlib import Path
from typing import NamedTuple

from flax_dynconv.models import MODELS, SALIENCY_NETWORKS, hdfnet
from flax_dynconv.training.extras import require
from flax_dynconv.training.kinds.arguments import DRAWN, SALIENCY, check_unused, constructed, no_use
from flax_dynconv.training.settings import Network

RECIPE, FULL = 'saliency', 'hdfnet-vgg19-30ep'
SCENES = 'scenes'  # the data that are drawn
SIZE = 320
# What the augmentation of an image, its depth and its mask knows.
AUGMENTED = ('flip', 'color_jitter')
NETWORK = ('num_kernels', 'drop_path', 'remat')
PREFIX = 'hdfnet_'
# Of red, green and blue.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SceneFacts(NamedTuple):
    """How images become inputs: pixels of a side of the square, mean and deviation of colours."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def create_task(settings):
    """The `Task` of `settings.images.data`: 'scenes', which are drawn, or a folder of images, depth and masks.

    Raises ValueError for augmentation that depth and mask do not follow, FileNotFoundError for a folder that is not
    there, ImportError for a missing package, and what `data.scene_folder.SceneFolder` raises.
    """
    for package in ('PIL', 'grain', 'scipy'):
        require(package, 'reads and judges images')
    from flax_dynconv.training.salient_objects import SalientObjects

    check_settings(settings)
    return SalientObjects(_source(settings), settings, scene_facts(settings))


def check_settings(settings):
    """ValueError for settings that the task has no use for, such as another filter than the bilinear one.

    >>> from flax_dynconv.training.settings import Settings
    >>> check_settings(Settings().updated(image_size=224, rotation=10.0))
    """
    used = (*NETWORK, 'image_size', 'mean', 'std', *AUGMENTED, *SALIENCY, *DRAWN)
    check_unused(settings, used, no_use('saliency'))


def unused_by_data(settings):
    """A folder has as many images as it has."""
    return () if settings.images.data == SCENES else DRAWN


def scene_facts(settings):
    """The `SceneFacts` of a run.

    >>> from flax_dynconv.training.settings import Settings
    >>> scene_facts(Settings())[:2]
    (320, (0.485, 0.456, 0.406))
    """
    images = settings.images
    return SceneFacts(images.image_size or SIZE, images.mean or MEAN, images.std or STD)


def networks(settings):
    """Role and name of the network to train; it has no static twin.

    >>> from flax_dynconv.training.settings import Settings
    >>> networks(Settings().updated(model='hdfnet_vgg16'))
    {'dynamic': 'hdfnet_vgg16'}
    """
    return {'dynamic': settings.network.model}


def build(name, num_outputs, settings):
    """The network called `name`: of `SALIENCY_NETWORKS`, or hdfnet_ENCODER with any network of `create_model`.

    Raises ValueError for another name, and for arguments that it does not have or that make it return probabilities.

    >>> from flax_dynconv.training.settings import Settings
    >>> build('hdfnet_odconv_resnet18_4x', 1, Settings().updated(num_kernels=2)).encoder.feature_strides
    (2, 4, 8, 16, 32)
    """
    network, usual = settings.network, Network()
    if 'probabilities' in json.loads(network.arguments):
        raise ValueError('arguments must not have probabilities: the loss is computed from logits')
    own = {field: getattr(network, field) for field in NETWORK if getattr(network, field) != getattr(usual, field)}
    return constructed(_constructor(name), name, settings, **own)


def _constructor(name):
    if name in SALIENCY_NETWORKS:
        return SALIENCY_NETWORKS[name]
    encoder = name.removeprefix(PREFIX)
    if encoder == name or encoder not in MODELS:
        raise ValueError(
            f'model of the task saliency must be one of {", ".join(SALIENCY_NETWORKS)}, or {PREFIX}NAME with the name '
            f'of an encoder, a network of create_model, got {name!r}'
        )
    return functools.partial(hdfnet, encoder)


def _source(settings):
    from flax_dynconv.training.data.other_depth import with_depth_from
    from flax_dynconv.training.data.scene_folder import SceneFolder
    from flax_dynconv.training.data.scenes import Scenes

    images = settings.images
    if images.data == SCENES:
        source = Scenes(images.image_size or SIZE, settings.drawn.train_examples, settings.drawn.test_examples)
    elif Path(images.data).is_dir():
        source = SceneFolder(images.data)
    else:
        raise FileNotFoundError(
            f'data: there is no folder {images.data}; expected scenes, or a folder with RGB, depth and mask'
        )
    return with_depth_from(settings.saliency.depth_from, source)
