"""Segmentation of images by a network of `SEGMENTERS`."""

import json
from pathlib import Path
from typing import NamedTuple

from flax_dynconv.models import MODELS, SEGMENTERS, create_model
from flax_dynconv.training.extras import require
from flax_dynconv.training.kinds.arguments import (
    AUGMENTATION,
    DRAWN,
    NETWORK,
    SEGMENTATION,
    check_unused,
    fitting,
    no_use,
)
from flax_dynconv.training.settings import INPUTS, Network

RECIPE, FULL = 'segment', 'dmnet-cityscapes-r50-80k'
# What the augmentation of an image and its labels knows.
AUGMENTED = ('flip', 'color_jitter')
CROP = 512
SHAPES = 'shapes'  # the data that are drawn
# Names of networks, of their static twins, and fields of the dynamic head, which a twin does not have.
DYNAMIC, STATIC = 'dmnet_', 'fcn_'
DYNAMIC_HEAD = ('filter_sizes', 'fusion', 'implementation')
# Of red, green and blue; 123.675, 116.28, 103.53 and 58.395, 57.12, 57.375 of 255.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PixelFacts(NamedTuple):
    """How images become inputs: (height, width) of crops and windows, PIL's filter, mean and deviation of colours."""

    crop: tuple[int, int]
    window: tuple[int, int]
    window_stride: tuple[int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def create_task(settings):
    """The `Task` of `settings.images.data`: 'shapes', which are drawn, or a folder of images and label images.

    Raises ValueError for augmentation that moves pixels away from their labels or mixes images, FileNotFoundError for
    a folder that is not there, ImportError for a missing package, and what `data.label_folder.LabelFolder` raises.
    """
    for package in ('PIL', 'grain'):
        require(package, 'reads images')
    from flax_dynconv.training.segmentation import SemanticSegmentation

    facts = pixel_facts(settings)
    reason = 'images with labelled pixels are changed by scale_range, crop_size, crop_share, flip and color_jitter only'
    check_unused(settings, AUGMENTED, reason, AUGMENTATION)
    check_unused(settings, (*NETWORK, *INPUTS, *AUGMENTED, *SEGMENTATION, *DRAWN), no_use('segment'))
    return SemanticSegmentation(_source(settings, facts), settings, facts)


def unused_by_data(settings):
    """A folder has as many images as it has; shapes have classes of their own, and labels from 0."""
    return ('class_names', 'reduce_zero_label') if settings.images.data == SHAPES else DRAWN


def pixel_facts(settings):
    """The `PixelFacts` of a run; ValueError for windows that leave pixels out.

    >>> from flax_dynconv.training.settings import Settings
    >>> pixel_facts(Settings().updated(crop_size=(512, 1024)))[:3]
    ((512, 1024), (512, 1024), (341, 683))
    """
    images, chosen = settings.images, settings.segmentation
    crop = chosen.crop_size or (images.image_size or CROP,) * 2
    window = chosen.window or crop
    stride = chosen.window_stride or tuple(max(1, round(2 * side / 3)) for side in window)
    if any(step > side for step, side in zip(stride, window, strict=True)):
        raise ValueError(f'window_stride must be at most the window, {window}, or pixels are left out, got {stride}')
    return PixelFacts(crop, window, stride, images.interpolation or 'bilinear', images.mean or MEAN, images.std or STD)


def networks(settings):
    """Role and name of each network to train: the dynamic one and, if asked for, its static twin.

    The twin of DMNet is FCN on the same backbone, with two static 3x3 convolutions for the dynamic head.

    >>> from flax_dynconv.training.settings import Settings
    >>> networks(Settings().updated(model='dmnet_resnet50'))
    {'dynamic': 'dmnet_resnet50', 'static': 'fcn_resnet50'}
    """
    name = settings.network.model
    if name.startswith(STATIC):
        return {'static': name}
    twin = STATIC + name.removeprefix(DYNAMIC)
    return {'dynamic': name} | ({'static': twin} if settings.twin and name.startswith(DYNAMIC) else {})


def build(name, num_outputs, settings):
    """The network called `name` with the arguments of `settings` that are not the defaults.

    A static twin is not given those of the dynamic head. Raises ValueError for an unknown name, for a classifier, and
    for arguments that it does not have.
    """
    if name in MODELS:
        raise ValueError(f'model must be one of {", ".join(SEGMENTERS)} for segmentation, got the classifier {name}')
    network, usual = settings.network, Network()
    arguments = {
        field: getattr(network, field)
        for field in ('width', *NETWORK)
        if getattr(network, field) != getattr(usual, field)
    } | json.loads(network.arguments)
    if name != network.model:
        arguments = {field: value for field, value in arguments.items() if field not in DYNAMIC_HEAD}
    with fitting(name, arguments):
        return create_model(name, num_classes=num_outputs, dtype=network.model_dtype, **arguments)


def _source(settings, facts):
    from flax_dynconv.training.data.label_decoding import check_ignored
    from flax_dynconv.training.data.label_folder import LabelFolder
    from flax_dynconv.training.data.shapes import Shapes

    chosen = settings.segmentation
    if settings.images.data == SHAPES:
        size = settings.images.image_size or facts.crop[0]
        shapes = Shapes(size, settings.drawn.train_examples, settings.drawn.test_examples)
        check_ignored(chosen.ignore_label, len(shapes.classes), False, 'the shapes')
        return shapes
    if not Path(settings.images.data).is_dir():
        raise FileNotFoundError(
            f'data: there is no folder {settings.images.data}; expected shapes, or a folder of images and label images'
        )
    return LabelFolder(settings.images.data, chosen.class_names, chosen.ignore_label, chosen.reduce_zero_label)
