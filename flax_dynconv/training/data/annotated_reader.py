"""What the readers of training images with hand-made truth share: which examples a piece of a pass has."""

import dataclasses
from typing import Any

import numpy as np

from flax_dynconv.training.data.passes import Pass, example_generator


@dataclasses.dataclass(frozen=True)
class AnnotatedTrainingReader:
    """A function of the number of a piece, when a subclass makes arrays of `transformed`.

    Raises what the source does: truth is made by hand and belongs to one image, so that nothing takes the place of
    one that cannot be read.
    """

    part: Pass
    source: Any
    order: np.ndarray
    seed: int
    epoch: int
    transform: Any  # f(*example without its name, generator)

    def transformed(self, number):
        """(index in the split, what `transform` gives) of each example of a piece, in order."""
        for position in self.part.positions(number).tolist():
            generator, index = example_generator(self.seed, self.epoch, position), int(self.order[position])
            *example, _ = self.source.example('train', index, generator)
            yield index, self.transform(*example, generator)
