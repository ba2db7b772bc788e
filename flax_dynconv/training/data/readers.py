"""A piece of a batch: images read, decoded, changed and stacked, by whichever thread or process."""

import dataclasses
from typing import Any

import numpy as np

from flax_dynconv.training.augmentation import mix
from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.passes import Pass, example_generator, pair_generator
from flax_dynconv.training.data.source import UnreadableImage

# In a row: so many are no accident.
MOST_UNREADABLE = 100


@dataclasses.dataclass(frozen=True)
class TrainingReader:
    """f(number of a piece) -> (arrays of the batch, {name: reason} of images that could not be read).

    The place of an unreadable image is taken by the next one of the split that can be read, after the last the first:
    mostly one of the same class, and the same one for every host. ValueError after 100 in a row.
    """

    part: Pass
    source: Any
    order: np.ndarray
    seed: int
    epoch: int
    transform: Any  # f(PIL image, generator) -> uint8 (H, W, C)
    mixing: Any = None  # the settings' Augmentation, if images are mixed

    def __call__(self, number):
        """Piece `number` of the pass."""
        positions, bad = self.part.positions(number).tolist(), {}
        images, labels = [], np.zeros(len(positions), np.int32)
        for row, position in enumerate(positions):
            image, labels[row] = self._readable(int(self.order[position]), bad)
            images.append(self.transform(image, example_generator(self.seed, self.epoch, position)))
        arrays = {'image': np.stack(images), 'label': labels}
        if self.mixing is not None:
            generators = [pair_generator(self.seed, self.epoch, position) for position in positions[::2]]
            arrays = mix(arrays['image'], labels, generators, self.mixing)
        return arrays | {'mask': np.ones(len(positions), np.float32)}, bad

    def _readable(self, index, bad):
        size, failed = self.source.size('train'), {}
        for step in range(min(MOST_UNREADABLE, size)):
            try:
                data, label, name = self.source.read('train', (index + step) % size)
                image = decode(data, name)
            except UnreadableImage as error:
                failed[error.name] = error.reason
            else:
                bad.update(failed)
                return image, label
        examples = '; '.join(f'{name}: {reason}' for name, reason in list(failed.items())[:3])
        raise ValueError(f'{len(failed)} training images in a row cannot be read: {examples}')


@dataclasses.dataclass(frozen=True)
class EvaluationReader:
    """f(number of a piece) -> (arrays of the batch, {}): black images with mask 0 after the last one.

    Raises `UnreadableImage`: an evaluation without some of its images would be another one.
    """

    part: Pass
    source: Any
    split: str
    transform: Any  # f(PIL image) -> uint8 (H, W, C)
    shape: tuple[int, int, int]

    def __call__(self, number):
        """Piece `number` of the pass."""
        positions = self.part.positions(number)
        mask = positions < self.source.size(self.split)
        images, labels = np.zeros((len(positions), *self.shape), np.uint8), np.zeros(len(positions), np.int32)
        for row in np.flatnonzero(mask):
            data, labels[row], name = self.source.read(self.split, int(positions[row]))
            images[row] = self.transform(decode(data, name))
        return {'image': images, 'label': labels, 'mask': mask.astype(np.float32)}, {}
