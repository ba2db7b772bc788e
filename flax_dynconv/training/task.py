"""What the loop needs to know of a problem; the loop itself knows no images, labels or classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A model after training: its registry name, the module, its variables and the record of each epoch."""

    name: str
    model: Any
    variables: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]


class Task(Protocol):
    """A problem: data, loss, metrics and a picture.

    A batch is a dict of arrays with a common leading axis; all batches of a split have the same shapes. The entry
    `'mask'` (batch,), 1.0 or 0.0, marks the rows that are examples: the last batch of an evaluation is filled up, and
    what is filled in must count nowhere. `loss`, `metrics` and `inputs` are pure and are traced by `jax.jit`.

    Where an evaluation is more than the model's call in one piece (segmentation with sliding windows), a task has a
    method `predict(model, variables, batch)`, pure too, which gives the outputs that are measured. Where what is
    measured is no sum that a device can make (average precision, the S-measure), a task has a method
    `measured(values)`: in an evaluation it is given what `metrics` gave, of a whole batch, as numpy arrays, on every
    host, and returns a dict of arrays, which are added up over batches, and of lists, which are joined; `summary` is
    given these. Where the metrics of training are the loss and its parts, a task may have a method
    `loss_and_metrics(outputs, batch)`, which gives the pair of both, so that nothing is traced twice.
    """

    name: str
    num_outputs: int  # what the network's head must give: `create_model(..., num_classes=num_outputs)`

    def init(self, model, key) -> Mapping[str, Any]:
        """Fresh variables of `model`."""

    def example(self) -> Batch:
        """A batch of one example, all zeros: for shapes and dtypes."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Number of training batches in an epoch."""

    def batches(
        self,
        split: str,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        rows: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        """One pass over `split`: 'train' is shuffled and augmented, a function of (seed, epoch); 'test' is fixed.

        `start` is the first batch of the pass that is wanted: what comes is what a whole pass gives from there on.
        `rows` are the positions in a batch of `batch_size` that are wanted, in order (None: all), as each host reads
        its own: an example depends on its position in the pass and never on who else is read.
        """

    def inputs(self, batch: Batch) -> tuple:
        """Positional arguments of the model's call."""

    def loss(self, outputs, batch: Batch):
        """Scalar to minimise: a mean over the examples of the batch, in float32 or wider."""

    def metrics(self, outputs, batch: Batch) -> Mapping[str, Any]:
        """Arrays that are added up over batches (sums and counts, a confusion matrix, ...)."""

    def summary(self, totals: Mapping[str, Any]) -> dict[str, float]:
        """The figures to report, from added-up metrics; 'loss' and the one named by `score` are among them."""

    score: str  # the figure that names the quality of a model, e.g. 'accuracy'; larger is better

    def picture(self, path: Path, trained: Mapping[str, Trained], batch_size: int) -> None:
        """Draw what was learned into a PNG."""
