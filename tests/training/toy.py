"""A task that has neither images nor classes: the loop must not notice."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_dynconv.layers import DynamicConv
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.sharding import Placement, make_mesh

SETTINGS = Settings(epochs=3).updated(
    batch_size=4, learning_rate=0.1, warmup_epochs=0.0, weight_decay=0.0, momentum=0.9
)
ONE = Placement(make_mesh((1, 1, 1), jax.devices()[:1]))


class Regression:
    """Sequences (N, 6, 2) to numbers; the figures of a pass are the mean squared error and its negative."""

    name, num_outputs, score = 'toy', 1, 'fit'

    def __init__(self, train=10, test=7, poison=None):
        generator = np.random.default_rng(0)
        self.x = {n: generator.standard_normal((n, 6, 2)).astype(np.float32) for n in (train, test)}
        self.sizes, self.poison, self.seen = {'train': train, 'test': test}, poison, []

    def init(self, model, key):
        return model.init(key, *self.inputs(self.example()))

    def example(self):
        return {'x': np.zeros((1, 6, 2), np.float32), 'y': np.zeros(1, np.float32), 'mask': np.ones(1, np.float32)}

    def steps_per_epoch(self, batch_size):
        return self.sizes['train'] // batch_size

    def batches(self, split, batch_size, seed=0, epoch=0, start=0, rows=None):
        size, x = self.sizes[split], self.x[self.sizes[split]]
        order = np.random.default_rng((seed, epoch)).permutation(size) if split == 'train' else np.arange(size)
        stop = size - size % batch_size if split == 'train' else size
        for i, first in enumerate(range(0, stop, batch_size)):
            if i < start:
                continue
            chosen = order[first : first + batch_size]
            fill = batch_size - len(chosen)
            batch = np.concatenate([x[chosen], np.full((fill, 6, 2), 1e9, np.float32)])
            if split == 'train':
                self.seen.append((epoch, tuple(chosen)))
                if (epoch, i) == self.poison:
                    batch = np.full_like(batch, np.nan)
            mask = np.arange(batch_size) < len(chosen)
            whole = {'x': batch, 'y': batch.sum((1, 2)), 'mask': mask.astype(np.float32)}
            yield whole if rows is None else {name: array[rows] for name, array in whole.items()}

    def inputs(self, batch):
        return (batch['x'],)

    def loss(self, outputs, batch):
        return jnp.sum(self._errors(outputs, batch)) / jnp.sum(batch['mask'])

    def metrics(self, outputs, batch):
        return {'errors': jnp.sum(self._errors(outputs, batch)), 'count': jnp.sum(batch['mask'])}

    def summary(self, totals):
        loss = float(totals['errors'] / totals['count'])
        return {'loss': loss, 'fit': -loss, 'count': float(totals['count'])}

    def picture(self, path, trained, batch_size):
        raise NotImplementedError

    def _errors(self, outputs, batch):
        return jnp.where(batch['mask'] > 0, (outputs - batch['y']) ** 2, 0.0)


class Linear(nn.Module):
    """The model that is right for it; dropout shows whether keys differ from step to step."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(1)(x.reshape(x.shape[0], -1))[:, 0]


class Dynamic(nn.Module):
    """A model with a temperature."""

    @nn.compact
    def __call__(self, x, train=False):
        return DynamicConv(1, 3, num_kernels=2)(x).mean((1, 2))


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
