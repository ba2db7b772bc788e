"""RandAugment: a number of operations, drawn evenly, at one strength for all."""

from flax_dynconv.training.augmentation._pil import FILTERS
from flax_dynconv.training.augmentation.randaugment_operations import OPERATIONS

LARGEST_MAGNITUDE = 10.0
# timm's, where the paper has an operation that does nothing among those to draw from.
PROBABILITY = 0.5


def randaugment(image, generator, operations, magnitude, deviation, interpolation):
    """The PIL `image` after `operations` draws, with repetition, from the fifteen of `randaugment_operations`.

    A drawn operation is applied with probability 1/2, at the level clip(N(magnitude, deviation), 0, 10) / 10 of its
    range and, where the range has two ends, in either direction with equal probability. What moves in from outside is
    grey, 128; `interpolation` is that of rotations, shears and shifts.

    >>> import numpy as np
    >>> from PIL import Image
    >>> randaugment(Image.new('RGB', (8, 6)), np.random.default_rng(0), 2, 9.0, 0.5, 'bilinear').size
    (8, 6)

    Source: Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space" (NeurIPS
    2020); operations, ranges and laws are those of timm's `rand-m9-mstd0.5-inc1`.
    """
    for which in generator.integers(len(OPERATIONS), size=operations):
        applied = generator.random() < PROBABILITY
        level = min(max(generator.normal(magnitude, deviation), 0.0), LARGEST_MAGNITUDE) / LARGEST_MAGNITUDE
        sign = 1 if generator.random() < 0.5 else -1
        if applied:
            image = OPERATIONS[which](image, level, sign, FILTERS[interpolation])
    return image
