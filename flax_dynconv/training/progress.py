"""How far a run is: what a checkpoint says besides its arrays, so that the next process goes on with the next step."""

import dataclasses

import jax
import numpy as np


@dataclasses.dataclass
class Progress:
    """Position in the data, the sums of the epoch at hand and the records of the epochs before it.

    The position is (`epoch`, `batch`): epochs that are over and batches of the next one that have been trained on.
    With the seed it is the whole state of the reading, for an example depends on its position alone.
    """

    epoch: int = 0
    batch: int = 0
    metrics: object = None  # sums of the task's metrics over the batches of this epoch
    figures: dict = dataclasses.field(default_factory=dict)  # sums of the step's figures
    counted: int = 0  # steps that the sums are over
    seconds: float = 0.0  # spent on training steps in this epoch
    history: list = dataclasses.field(default_factory=list)

    def add(self, metrics, figures):
        """Count one step."""
        self.metrics = added(self.metrics, metrics)
        self.figures = added(self.figures or None, figures)
        self.counted += 1

    def next_epoch(self, record):
        """The epoch is over, and this is its record."""
        return Progress(epoch=self.epoch + 1, history=[*self.history, record])

    def to_json(self):
        """Plain values that JSON keeps exactly."""
        leaves = [] if self.metrics is None else [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(self.metrics)]
        figures = {name: float(value) for name, value in self.figures.items()}
        return dataclasses.asdict(self) | {'metrics': leaves, 'figures': figures}

    @classmethod
    def from_json(cls, values, metrics):
        """The progress that `to_json` gave; `metrics` is a tree of the structure of the task's metrics."""
        leaves = [np.asarray(leaf, np.float64) for leaf in values['metrics']]
        tree = jax.tree.unflatten(jax.tree.structure(metrics), leaves) if leaves else None
        return cls(**values | {'metrics': tree})


def added(totals, values):
    """Sums of two trees of arrays, on the host in float64."""
    values = jax.tree.map(lambda x: np.asarray(x, np.float64), values)
    return values if totals is None else jax.tree.map(np.add, totals, values)


def joined(totals, values):
    """Sums of the arrays of two dicts, and their lists one after the other.

    >>> joined({'count': np.float64(2), 'names': ['a']}, {'count': np.float64(1), 'names': ['b']})
    {'count': np.float64(3.0), 'names': ['a', 'b']}
    """
    return dict(values) if totals is None else {name: totals[name] + value for name, value in values.items()}
