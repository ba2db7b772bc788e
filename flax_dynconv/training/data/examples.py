"""Batches of examples that are made one at a time: drawn at random, or cut out of arrays in memory."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from flax_dynconv.training.data import passes
from flax_dynconv.training.data.source import check_split

SPLITS = ('train', 'test')


class Examples(Protocol):
    """Where examples come from, dicts of arrays whose shapes and dtypes are those of all others."""

    name: str  # of the data, for messages and the run's title

    def size(self, split: str) -> int:
        """Examples of a pass over 'train' or 'test'."""

    def training(self, seed: int, epoch: int) -> Callable[[int], Mapping]:
        """A function of the position in the pass, and of nothing else, that makes a training example."""

    def test(self, index: int) -> Mapping:
        """A test example: the same in every run."""


class ExampleTask:
    """What tasks of `Examples` share: passes over them as the `Task` protocol wants, each row with its mask.

    Training batches are full. Evaluation batches hold every test example once; the last one is filled up with masked
    copies of the last example. An example depends on seed, epoch and position, not on `start` or `rows`. Raises
    ValueError for a batch larger than the training pass, an unknown split, and a start or rows that are not there.
    """

    def __init__(self, examples):
        self.examples, self.name = examples, examples.name

    def init(self, model, key):
        """Fresh variables."""
        return model.init(key, *self.inputs(self.example()))

    def example(self):
        """One example of zeros."""
        zeros = {name: np.zeros((1, *np.shape(a)), np.asarray(a).dtype) for name, a in self.examples.test(0).items()}
        return zeros | {'mask': np.ones(1, np.float32)}

    def steps_per_epoch(self, batch_size):
        """Full batches of a training pass."""
        size = self.examples.size('train')
        if size < batch_size:
            raise ValueError(f'batch_size must be at most the {size} training examples, got {batch_size}')
        return size // batch_size

    def batches(self, split, batch_size, seed=0, epoch=0, start=0, rows=None):
        """One pass over `split`; see `Task`. `start` costs nothing."""
        check_split(split, SPLITS)
        if split == 'train':
            steps, make = self.steps_per_epoch(batch_size), self.examples.training(seed, epoch)
            last = steps * batch_size - 1
        else:
            last, make = self.examples.size('test') - 1, self.examples.test
            steps = last // batch_size + 1
        rows = passes.check_pass(steps, batch_size, start, rows)
        return _made(make, range(start * batch_size, steps * batch_size, batch_size), rows, last)


def _made(make, firsts, rows, last):
    for first in firsts:
        made = [make(int(position)) for position in np.minimum(first + rows, last)]
        batch = {name: np.stack([example[name] for example in made]) for name in made[0]}
        yield batch | {'mask': (first + rows <= last).astype(np.float32)}
