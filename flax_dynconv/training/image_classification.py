"""Classification of images that are read from a source while training."""

import warnings

import jax.numpy as jnp
import numpy as np

from flax_dynconv.training.augmentation import evaluation_transform, train_transform
from flax_dynconv.training.classification import Classification
from flax_dynconv.training.data import passes, pipeline
from flax_dynconv.training.data.readers import EvaluationReader, TrainingReader
from flax_dynconv.training.data.source import check_split

CHANNELS = 3


class ImageClassification(Classification):
    """A `Task` of the images of `source`, read and augmented as `settings` say, with the geometry of `facts`.

    A batch holds image (N, size, size, 3) uint8, label (N,) int32 and mask (N,) float32, and where `settings` mix
    images other_label (N,) int32 and share (N,) float32, the share of `label`. An example is a function of the seed,
    the epoch and its position in the pass. `inputs` are (x / 255 - mean) / std in float32.

    `bad_images` {name: reason} are the training images found so far that could not be read, and were replaced (see
    `data.readers`); `on_bad_image(name, reason)` is called once for each, by default it warns. In an evaluation such
    an image is an error. Raises ValueError for settings that do not fit together.
    """

    def __init__(self, source, settings, facts):
        self.source, self.settings, self.facts = source, settings, facts
        self.name, self.num_outputs, self.classes = settings.images.data, len(source.classes), source.classes
        self.label_smoothing = settings.augmentation.label_smoothing
        self.bad_images, self.on_bad_image = {}, _warn
        geometry = facts.image_size, facts.resize, facts.interpolation
        self.train_transform = train_transform(settings.augmentation, *geometry)
        self.evaluation_transform = evaluation_transform(*geometry)
        self.mixing = settings.augmentation if settings.augmentation.mixup or settings.augmentation.cutmix else None

    def example(self):
        """One black image of class 0."""
        size = self.facts.image_size
        return {
            'image': np.zeros((1, size, size, CHANNELS), np.uint8),
            'label': np.zeros(1, np.int32),
            'mask': np.ones(1, np.float32),
        }

    def size(self, split):
        """Number of images."""
        return self.source.size(split)

    def steps_per_epoch(self, batch_size):
        """Full batches in the training split; ValueError for an odd number of images that are mixed in pairs."""
        if self.mixing is not None and batch_size % 2:
            raise ValueError(f'batch_size must be even, as pairs of images are mixed, got {batch_size}')
        return super().steps_per_epoch(batch_size)

    def batches(self, split, batch_size, seed=0, epoch=0, start=0, rows=None):
        """One pass over `split`; see `Task`. `start` costs nothing."""
        check_split(split, self.source.splits)
        reader = (self._training if split == 'train' else self._evaluation)(split, batch_size, seed, epoch, start, rows)
        images = self.settings.images
        return pipeline.batches(reader, images.reader_threads, images.reader_processes, self._note)

    def _training(self, split, batch_size, seed, epoch, start, rows):
        part = self._part(self.steps_per_epoch(batch_size), batch_size, start, rows, self.mixing is not None)
        order = passes.order(self.size(split), seed, epoch)
        return TrainingReader(part, self.source, order, seed, epoch, self.train_transform, self.mixing)

    def _evaluation(self, split, batch_size, seed, epoch, start, rows):
        part = self._part(-(-self.size(split) // batch_size), batch_size, start, rows, False)
        shape = (self.facts.image_size, self.facts.image_size, CHANNELS)
        return EvaluationReader(part, self.source, split, self.evaluation_transform, shape)

    def _part(self, steps, batch_size, start, rows, pairs):
        rows, images = passes.check_pass(steps, batch_size, start, rows, pairs), self.settings.images
        part = pipeline.part_size(len(rows), images.reader_threads * max(1, images.reader_processes))
        return passes.Pass(steps, batch_size, start, rows, part)

    def _note(self, bad):
        for name, reason in bad.items():
            if name not in self.bad_images:
                self.bad_images[name] = reason
                self.on_bad_image(name, reason)

    def inputs(self, batch):
        """The images, normalised: float32 (N, size, size, 3)."""
        mean, std = (jnp.asarray(fact, jnp.float32)[None, None, None, :] for fact in (self.facts.mean, self.facts.std))
        return ((batch['image'].astype(jnp.float32) / 255 - mean) / std,)


def _warn(name, reason):
    warnings.warn(f'{name} cannot be read: {reason}; the next image that can takes its place', stacklevel=2)
