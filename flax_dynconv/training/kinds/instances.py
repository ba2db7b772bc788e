"""Objects and their masks in images, by a network of `INSTANCE_NETWORKS`."""

from pathlib import Path
from typing import NamedTuple

from flax_dynconv.models import INSTANCE_NETWORKS
from flax_dynconv.training.extras import require
from flax_dynconv.training.kinds.arguments import DRAWN, INSTANCES, NETWORK, check_unused, constructed, no_use
from flax_dynconv.training.settings import INPUTS

RECIPE, FULL = 'instances', 'condinst-coco-r50-1x'
SHAPES = 'shapes'  # the data that are drawn
# Canvases are divided by the strides of the maps that are added up, and masks by 4.
MULTIPLE = 32
CANVAS = 1344
AUGMENTED = ('flip', 'color_jitter')
# Of red, green and blue; 123.675, 116.28, 103.53 and 58.395, 57.12, 57.375 of 255.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class CanvasFacts(NamedTuple):
    """How images become inputs: height and width of a canvas, PIL's filter, mean and deviation of colours."""

    canvas: tuple[int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def create_task(settings):
    """The `Task` of `settings.images.data`: 'shapes', which are drawn, or a folder of COCO's layout.

    Raises ValueError for augmentation that masks do not follow and for canvases of other sizes than multiples of 32,
    FileNotFoundError for a folder that is not there, ImportError for a missing package, and what `data.coco` raises.
    """
    for package in ('PIL', 'grain'):
        require(package, 'reads images')
    require('pycocotools', 'measures masks')
    used = (*NETWORK, *INPUTS, *AUGMENTED, *INSTANCES, *DRAWN)
    check_unused(settings, used, no_use('instances'))
    return task_on(_source(settings, canvas_facts(settings)), settings)


def task_on(source, settings):
    """The `Task` of `settings` on the images of `source`."""
    from flax_dynconv.training.instance_segmentation import InstanceSegmentation

    network = build(settings.network.model, len(source.classes), settings)
    return InstanceSegmentation(source, settings, canvas_facts(settings), network)


def unused_by_data(settings):
    """A folder has as many images as it has; shapes are drawn at the size of the canvas."""
    return ('shorter_sides', 'longer_side', 'resize', 'skip_empty') if settings.images.data == SHAPES else DRAWN


def canvas_facts(settings):
    """The `CanvasFacts` of a run; ValueError for a canvas that strides do not divide.

    >>> from flax_dynconv.training.settings import Settings
    >>> canvas_facts(Settings().updated(canvas=(800, 1344)))[:2]
    ((800, 1344), 'bilinear')
    """
    images = settings.images
    canvas = settings.instances.canvas or (images.image_size or CANVAS,) * 2
    if any(side % MULTIPLE for side in canvas):
        raise ValueError(f'canvas must be a height and a width that {MULTIPLE} divides, got {canvas}')
    return CanvasFacts(canvas, images.interpolation or 'bilinear', images.mean or MEAN, images.std or STD)


def networks(settings):
    """Role and name of the network to train; a static one has no masks.

    >>> from flax_dynconv.training.settings import Settings
    >>> networks(Settings().updated(model='condinst_resnet50'))
    {'dynamic': 'condinst_resnet50'}
    """
    return {'dynamic': settings.network.model}


def build(name, num_outputs, settings):
    """The network called `name`, for so many classes; ValueError for another name, or unknown arguments."""
    if name not in INSTANCE_NETWORKS:
        raise ValueError(f'model of the task instances must be one of {", ".join(INSTANCE_NETWORKS)}, got {name!r}')
    return constructed(INSTANCE_NETWORKS[name], name, settings, num_classes=num_outputs)


def _source(settings, facts):
    from flax_dynconv.training.data.instance_shapes import InstanceShapes

    if settings.images.data == SHAPES:
        if facts.canvas[0] != facts.canvas[1]:
            raise ValueError(f'canvas must be a square for drawn shapes, got {facts.canvas}')
        return InstanceShapes(facts.canvas[0], settings.drawn.train_examples, settings.drawn.test_examples)
    if not Path(settings.images.data).is_dir():
        raise FileNotFoundError(
            f'data: there is no folder {settings.images.data}; expected shapes, or a folder with images and annotations'
        )
    from flax_dynconv.training.data.coco import Coco

    chosen = settings.instances
    return Coco(settings.images.data, chosen.skip_empty, boxes=chosen.mask_loss == 'boxinst')
