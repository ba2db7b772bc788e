"""Which example of a data set is where in a pass: arithmetic of seed, epoch and position, and of no host."""

import dataclasses

import numpy as np

# What random numbers are for, so that no two purposes share a stream.
_ORDER, _MIXING, _TEST = 1, 2, 3


def order(size, seed, epoch):
    """The order of `size` training examples in an epoch: a permutation.

    >>> sorted(order(4, seed=0, epoch=2).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng((seed, epoch, 0, _ORDER)).permutation(size)


def example_generator(seed, epoch, position):
    """The random numbers of the example at `position` of a pass."""
    return np.random.default_rng((seed, epoch, position))


def pair_generator(seed, epoch, position):
    """The random numbers of the pair of examples at `position` and `position + 1`, `position` even."""
    return np.random.default_rng((seed, epoch, position // 2, _MIXING))


def held_out_generator(index):
    """The random numbers of a test example that is drawn: the same in every run, whatever its seed."""
    return np.random.default_rng((0, 0, index, _TEST))


@dataclasses.dataclass(frozen=True)
class Pass:
    """The part of a pass that one host reads: `rows` of the batches `start` to `steps` - 1, in parts of a batch.

    Example r of batch b is at position b * batch_size + r of the pass, whoever reads it.
    """

    steps: int
    batch_size: int
    start: int
    rows: np.ndarray
    part: int  # rows that are read as one piece of work

    @property
    def parts(self):
        """Pieces of work per batch."""
        return -(-len(self.rows) // self.part)

    def __len__(self):
        return (self.steps - self.start) * self.parts

    def positions(self, number):
        """Positions in the pass of the examples of piece `number` of this host, from 0."""
        step, part = divmod(number, self.parts)
        return (self.start + step) * self.batch_size + self.rows[part * self.part : (part + 1) * self.part]


def check_pass(steps, batch_size, start, rows, pairs=False):
    """`rows` as an array (None: all); ValueError for a start or rows that are not there, or rows that split a pair.

    >>> check_pass(10, 4, 0, None).tolist()
    [0, 1, 2, 3]
    """
    if not 0 <= start <= steps:
        raise ValueError(f'start must be from 0 to {steps}, the batches of a pass, got {start}')
    rows = np.arange(batch_size) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer) or not len(rows):
        raise ValueError(f'rows must be positions in a batch, at least one, got {rows!r}')
    if rows.min() < 0 or rows.max() >= batch_size:
        raise ValueError(f'rows must be from 0 to {batch_size - 1}, got {rows.min()} to {rows.max()}')
    if pairs and (len(rows) % 2 or (rows[::2] % 2).any() or (rows[1::2] != rows[::2] + 1).any()):
        raise ValueError(
            f'rows must hold the pairs (0, 1), (2, 3), ... whole, as their images are mixed, got {rows.tolist()}'
        )
    return rows
