"""A piece of a batch of images with the classes of their pixels."""

import dataclasses
from typing import Any

import numpy as np

from flax_dynconv.training.data.annotated_reader import AnnotatedTrainingReader
from flax_dynconv.training.data.passes import Pass


class LabelledTrainingReader(AnnotatedTrainingReader):
    """f(number of a piece) -> (arrays of the batch, {})."""

    def __call__(self, number):
        """Piece `number` of the pass."""
        images, labels = zip(*(pair for _, pair in self.transformed(number)), strict=True)
        return {'image': np.stack(images), 'label': np.stack(labels), 'mask': np.ones(len(images), np.float32)}, {}


@dataclasses.dataclass(frozen=True)
class LabelledEvaluationReader:
    """f(number of a piece) -> (arrays of the batch, {}): black images, all ignored, with mask 0 after the last one."""

    part: Pass
    source: Any
    split: str
    transform: Any  # f(PIL image, labels) -> (uint8 (H, W, C), int32 (H, W))
    shape: tuple[int, int, int]
    ignore_label: int

    def __call__(self, number):
        """Piece `number` of the pass."""
        positions = self.part.positions(number)
        mask = positions < self.source.size(self.split)
        images = np.zeros((len(positions), *self.shape), np.uint8)
        labels = np.full((len(positions), *self.shape[:2]), self.ignore_label, np.int32)
        for row in np.flatnonzero(mask):
            image, label, _ = self.source.example(self.split, int(positions[row]), None)
            images[row], labels[row] = self.transform(image, label)
        return {'image': images, 'label': labels, 'mask': mask.astype(np.float32)}, {}
