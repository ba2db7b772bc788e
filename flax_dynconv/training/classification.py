"""Classification of images: loss, metrics and batches from arrays; other data bring batches of their own."""

import jax.numpy as jnp
import numpy as np

from flax_dynconv.training import losses
from flax_dynconv.training.data.passes import check_pass


class Classification:
    """A `Task` of images in memory: `images[split]` (N, H, W, C) float32, `labels[split]` (N,) int32.

    Training batches are full (what is left over in an epoch is in another batch of the next); evaluation batches
    cover every image exactly once, the last one filled up with masked copies of an image.

    `augment(images, generator)` may change the images of a whole training batch. What is minimised is the
    cross-entropy with `label_smoothing`; the figures are without. Raises ValueError for a batch larger than the
    training split, an unknown split, and a start or rows that are not there.
    """

    score = 'accuracy'

    def __init__(self, name, images, labels, num_outputs, augment=None, label_smoothing=0.0):
        self.name, self.images, self.labels, self.num_outputs, self.augment = name, images, labels, num_outputs, augment
        self.label_smoothing = label_smoothing

    def init(self, model, key):
        """Fresh variables."""
        return model.init(key, *self.inputs(self.example()))

    def example(self):
        """One black image of class 0."""
        shape = self.images['train'].shape[1:]
        return {
            'image': np.zeros((1, *shape), np.float32),
            'label': np.zeros(1, np.int32),
            'mask': np.ones(1, np.float32),
        }

    def size(self, split):
        """Number of images."""
        return len(self.labels[split])

    def steps_per_epoch(self, batch_size):
        """Full batches in the training split."""
        steps = self.size('train') // batch_size
        if not steps:
            raise ValueError(f'batch_size must be at most the {self.size("train")} training images, got {batch_size}')
        return steps

    def batches(self, split, batch_size, seed=0, epoch=0, start=0, rows=None):
        """One pass over `split`; see `Task`."""
        if split not in self.labels:
            raise ValueError(f'split must be one of {sorted(self.labels)}, got {split!r}')
        if split == 'train':
            rows = check_pass(self.steps_per_epoch(batch_size), batch_size, start, rows)
            return self._training(batch_size, np.random.default_rng((seed, epoch)), start, rows)
        rows = check_pass(-(-self.size(split) // batch_size), batch_size, start, rows)
        return self._evaluation(split, batch_size, start, rows)

    def _training(self, batch_size, generator, start, rows):
        images, labels = self.images['train'], self.labels['train']
        order = generator.permutation(len(labels))
        for step in range(self.steps_per_epoch(batch_size)):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            # One stream of random numbers runs through the epoch: what is not wanted is drawn all the same.
            image = images[chosen] if self.augment is None else self.augment(images[chosen], generator)
            if step >= start:
                yield {'image': image[rows], 'label': labels[chosen[rows]], 'mask': np.ones(len(rows), np.float32)}

    def _evaluation(self, split, batch_size, start, rows):
        images, labels = self.images[split], self.labels[split]
        for first in range(start * batch_size, len(labels), batch_size):
            mask = (first + rows < len(labels)).astype(np.float32)
            chosen = np.minimum(first + rows, len(labels) - 1)
            yield {'image': images[chosen], 'label': labels[chosen], 'mask': mask}

    def inputs(self, batch):
        """The images."""
        return (batch['image'],)

    def loss(self, outputs, batch):
        """Mean cross-entropy of the examples, with label smoothing, in float32 or wider."""
        each = losses.cross_entropy(outputs, batch, self.label_smoothing)
        mask = batch['mask'].astype(each.dtype)
        return jnp.sum(each * mask) / jnp.sum(mask)

    def metrics(self, outputs, batch):
        """Sums over the examples: cross-entropy, correct answers (from 10 classes also among the first 5), examples.

        Of mixed labels both count, each by its share.
        """
        each = {'loss': losses.cross_entropy(outputs, batch), 'correct': losses.correct(outputs, batch)}
        if self.num_outputs >= losses.CLASSES_FOR_TOP:
            each['top5_correct'] = losses.correct_in_top(outputs, batch)
        mask = batch['mask'].astype(each['loss'].dtype)
        return {name: jnp.sum(values * mask) for name, values in each.items()} | {'count': jnp.sum(mask)}

    def summary(self, totals):
        """Mean cross-entropy, the fraction of correct answers and, from 10 classes, of those among the first 5."""
        names = {'loss': 'loss', 'correct': 'accuracy', 'top5_correct': 'top5_accuracy'}
        count = float(totals['count'])
        return {figure: float(totals[name]) / count for name, figure in names.items() if name in totals}

    def picture(self, path, trained, batch_size):
        """Learning curves of all runs and, up to 20 classes, the kernel attention of each in the dynamic layers."""
        from flax_dynconv.training import pictures

        pictures.draw(path, self, trained, batch_size)
