"""What the tasks on images with hand-made truth share: passes over their source, and images as inputs."""

import jax.numpy as jnp

from flax_dynconv.training.data import passes, pipeline
from flax_dynconv.training.data.source import check_split


class AnnotatedImages:
    """Part of a `Task` on the images of `source`: every image that is wanted is read, or what is wrong with it raised.

    `facts` has mean and standard deviation of the colours. A task says `example`, `_training_reader(part, order, seed,
    epoch)` and `_evaluation_reader(part, split)`: functions of the number of a piece of the pass `part`, as
    `data.pipeline.batches` takes them.
    """

    def __init__(self, source, settings, facts):
        self.source, self.settings, self.facts = source, settings, facts

    def init(self, model, key):
        """Fresh variables."""
        return model.init(key, *self.inputs(self.example()))

    def steps_per_epoch(self, batch_size):
        """Full batches in the training split."""
        steps = self.source.size('train') // batch_size
        if not steps:
            raise ValueError(
                f'batch_size must be at most the {self.source.size("train")} training images, got {batch_size}'
            )
        return steps

    def batches(self, split, batch_size, seed=0, epoch=0, start=0, rows=None):
        """One pass over `split`; see `Task`. `start` costs nothing."""
        check_split(split, self.source.splits)
        size, images = self.source.size(split), self.settings.images
        steps = self.steps_per_epoch(batch_size) if split == 'train' else -(-size // batch_size)
        rows = passes.check_pass(steps, batch_size, start, rows)
        part = pipeline.part_size(len(rows), images.reader_threads * max(1, images.reader_processes))
        part = passes.Pass(steps, batch_size, start, rows, part)
        if split == 'train':
            reader = self._training_reader(part, passes.order(size, seed, epoch), seed, epoch)
        else:
            reader = self._evaluation_reader(part, split)
        return pipeline.batches(reader, images.reader_threads, images.reader_processes, lambda bad: None)

    def inputs(self, batch):
        """The images, normalised: (x / 255 - mean) / std, float32 (N, H, W, 3)."""
        mean, std = (jnp.asarray(fact, jnp.float32)[None, None, None, :] for fact in (self.facts.mean, self.facts.std))
        return ((batch['image'].astype(jnp.float32) / 255 - mean) / std,)
