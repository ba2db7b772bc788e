"""A piece of a batch of images with depth and masks."""

import dataclasses
from typing import Any

import numpy as np

from flax_dynconv.training.data.annotated_reader import AnnotatedTrainingReader
from flax_dynconv.training.data.passes import Pass


class SceneTrainingReader(AnnotatedTrainingReader):
    """f(number of a piece) -> (arrays of the batch, {})."""

    def __call__(self, number):
        """Piece `number` of the pass."""
        made = [arrays for _, arrays in self.transformed(number)]
        arrays = {name: np.stack([each[name] for each in made]) for name in made[0]}
        return arrays | {'mask': np.ones(len(made), np.float32)}, {}


@dataclasses.dataclass(frozen=True)
class SceneEvaluationReader:
    """f(number of a piece) -> (arrays of the batch, {}): black images with mask 0 after the last one.

    Besides what the transform makes there are truth (n, *canvas) uint8, the mask of the objects at its own size in the
    upper left corner of a canvas, and size (n, 2) int32, its height and width.
    """

    part: Pass
    source: Any
    split: str
    transform: Any  # f(PIL image, PIL depth, mask) -> arrays
    example: Any  # arrays of one example, (1, ...), zeros
    canvas: tuple[int, int]

    def __call__(self, number):
        """Piece `number` of the pass."""
        positions = self.part.positions(number)
        kept = positions < self.source.size(self.split)
        arrays = {name: np.repeat(array, len(positions), axis=0) for name, array in self.example.items()}
        arrays['truth'] = np.zeros((len(positions), *self.canvas), np.uint8)
        arrays['size'] = np.ones((len(positions), 2), np.int32)
        for row in np.flatnonzero(kept):
            image, depth, mask, _ = self.source.example(self.split, int(positions[row]), None)
            for name, array in self.transform(image, depth, mask).items():
                arrays[name][row] = array
            height, width = mask.shape
            arrays['truth'][row, :height, :width] = mask
            arrays['size'][row] = height, width
        return arrays | {'mask': kept.astype(np.float32)}, {}
