"""Classification of images: loss, metrics and batches from arrays; a data set adds its images."""

import jax.numpy as jnp
import numpy as np
import optax


class Classification:
    """A `Task` of images in memory: `images[split]` (N, H, W, C) float32, `labels[split]` (N,) int32.

    Training batches are full (what is left over in an epoch is in another batch of the next); evaluation batches
    cover every image exactly once, the last one filled up with masked copies of an image.

    `augment(images, generator)` may change training images. Raises ValueError for a batch larger than the training
    split or an unknown split.
    """

    score = 'accuracy'

    def __init__(self, name, images, labels, num_outputs, augment=None):
        self.name, self.images, self.labels, self.num_outputs, self.augment = name, images, labels, num_outputs, augment

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

    def steps_per_epoch(self, batch_size):
        """Full batches in the training split."""
        steps = len(self.labels['train']) // batch_size
        if not steps:
            raise ValueError(
                f'batch_size must be at most the {len(self.labels["train"])} training images, got {batch_size}'
            )
        return steps

    def batches(self, split, batch_size, seed=0, epoch=0):
        """One pass over `split`; see `Task`."""
        if split not in self.images:
            raise ValueError(f'split must be one of {sorted(self.images)}, got {split!r}')
        images, labels = self.images[split], self.labels[split]
        if split == 'train':
            return self._training(images, labels, batch_size, np.random.default_rng((seed, epoch)))
        return self._evaluation(images, labels, batch_size)

    def _training(self, images, labels, batch_size, generator):
        order = generator.permutation(len(labels))
        mask = np.ones(batch_size, np.float32)
        for step in range(self.steps_per_epoch(batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size]
            image = images[rows] if self.augment is None else self.augment(images[rows], generator)
            yield {'image': image, 'label': labels[rows], 'mask': mask}

    def _evaluation(self, images, labels, batch_size):
        for start in range(0, len(labels), batch_size):
            rows = np.arange(start, start + batch_size)
            mask = (rows < len(labels)).astype(np.float32)
            rows = np.minimum(rows, len(labels) - 1)
            yield {'image': images[rows], 'label': labels[rows], 'mask': mask}

    def inputs(self, batch):
        """The images."""
        return (batch['image'],)

    def loss(self, outputs, batch):
        """Mean cross-entropy of the examples, in float32 or wider."""
        totals = self.metrics(outputs, batch)
        return totals['loss'] / totals['count']

    def metrics(self, outputs, batch):
        """Sums over the examples: cross-entropy, correct answers, examples."""
        logits = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        mask = batch['mask'].astype(logits.dtype)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['label'])
        correct = jnp.argmax(logits, axis=-1) == batch['label']
        return {'loss': jnp.sum(losses * mask), 'correct': jnp.sum(correct * mask), 'count': jnp.sum(mask)}

    def summary(self, totals):
        """Mean cross-entropy and the fraction of correct answers."""
        count = float(totals['count'])
        return {'loss': float(totals['loss']) / count, 'accuracy': float(totals['correct']) / count}

    def picture(self, path, trained, batch_size):
        """Learning curves of all runs, and the kernel attention of each class in the dynamic layers."""
        from flax_dynconv.training import pictures

        pictures.draw(path, self, trained, batch_size)
