"""A piece of a batch of images with their objects."""

import dataclasses
from typing import Any

import numpy as np

from flax_dynconv.training.data.annotated_reader import AnnotatedTrainingReader
from flax_dynconv.training.data.instance_arrays import blank_arrays
from flax_dynconv.training.data.passes import Pass


class InstanceTrainingReader(AnnotatedTrainingReader):
    """f(number of a piece) -> (arrays of the batch, {}): those of `instance_arrays`, with index and mask (N,)."""

    def __call__(self, number):
        """Piece `number` of the pass."""
        return _stacked([_row(arrays, index, 1) for index, arrays in self.transformed(number)]), {}


@dataclasses.dataclass(frozen=True)
class InstanceEvaluationReader:
    """f(number of a piece) -> (arrays of the batch, {}): after the last image black ones, of index -1 and mask 0."""

    part: Pass
    source: Any
    split: str
    transform: Any  # f(PIL image, instances) -> {name: array}

    def __call__(self, number):
        """Piece `number` of the pass."""
        rows, size = [], self.source.size(self.split)
        for index in self.part.positions(number).tolist():
            if index < size:
                image, instances, _ = self.source.example(self.split, index, None)
                rows.append(_row(self.transform(image, instances), index, 1))
            else:
                rows.append(_row(blank_arrays(self.transform.canvas, self.transform.max_instances), -1, 0))
        return _stacked(rows), {}


def _row(arrays, index, mask):
    return arrays | {'index': np.int32(index), 'mask': np.float32(mask)}


def _stacked(rows):
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
