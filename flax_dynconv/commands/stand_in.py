"""A task without its data set: what a prediction needs is the classes and how an image becomes an input."""

import numpy as np

from flax_dynconv.training.augmentation.evaluation import central_crop
from flax_dynconv.training.image_classification import ImageClassification
from flax_dynconv.training.kinds import instances, saliency
from flax_dynconv.training.kinds.classify import input_facts
from flax_dynconv.training.kinds.segment import pixel_facts
from flax_dynconv.training.salient_objects import SalientObjects
from flax_dynconv.training.segmentation import SemanticSegmentation
from flax_dynconv.training.tasks import create_task


class NoImages:
    """A `data.source.Source` that knows its classes and has no image to give."""

    splits, name = ('train', 'test'), 'no images'

    def __init__(self, classes, size, category_ids=()):
        self.classes, self._size, self.category_ids = classes, size, category_ids

    def size(self, split):
        """Some number: as many as fill one batch."""
        return self._size

    def dimensions(self, split):
        """Some size."""
        return {(1, 1)}

    def read(self, split, index):
        """There is none."""
        raise NotImplementedError


def task_without_data(settings, classes, category_ids=()):
    """The task of `settings` on a data set of these classes that need not be here; the digits always are.

    Raises ValueError for inputs that the task does not have.
    """
    images = NoImages(classes, settings.images.batch_size, category_ids)
    if settings.task == 'instances':
        return instances.task_on(images, settings)
    if settings.task == 'saliency':
        saliency.check_settings(settings)
        return SalientObjects(images, settings, saliency.scene_facts(settings))
    if settings.task == 'segment':
        return SemanticSegmentation(images, settings, pixel_facts(settings))
    if settings.images.data == 'digits':
        return create_task(settings)
    return ImageClassification(images, settings, input_facts(settings))


def transform_of(task):
    """f(PIL image of the mode RGB) -> the array that the task's batches would hold of it: as in an evaluation.

    For images that are grey and in memory (the digits): the shorter side to their size, the centre, and black to the
    smallest and white to the largest value in the training images.
    """
    if hasattr(task, 'evaluation_transform'):
        return task.evaluation_transform
    _, height, width, channels = task.images['train'].shape
    if (channels, width) != (1, height):
        raise ValueError(f'predict knows images (N, size, size, 1) in memory, got {task.images["train"].shape}')
    low, high = task.images['train'].min(), task.images['train'].max()

    def transform(image):
        grey = np.asarray(central_crop(image.convert('L'), height, height, 'bilinear'), np.float32)[:, :, None]
        return low + (high - low) * (grey / 255)

    return transform
