"""The digits that bounce: scikit-learn's, enlarged, or those of idx files; some are for test videos alone."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from flax_dynconv.training.data import array_files, idx_files
from flax_dynconv.training.digits import digits

# Of a single idx file, how many of its images are for training for each that is for tests: as in MNIST.
TRAINING_SHARE = 6
# Of the canvas, as MNIST's 28 of 64 pixels.
SHARE_OF_CANVAS = 7 / 16
_CONTRAST = 3.0


class Digits(NamedTuple):
    """Images (N, h, w) float32 from 0 to 1 for training and for tests, and what they are called."""

    train: np.ndarray
    test: np.ndarray
    name: str


def scikit_learn_digits(canvas):
    """The digits of scikit-learn for a canvas of that many pixels, split as in the classification of digits.

    8x8 pixels become 7/16 of the canvas by linear interpolation, and their contrast is tripled around the middle grey:
    thus enlarged they are as nearly black and white as MNIST's. Raises ImportError without scikit-learn.
    """
    images, size = digits().images, max(8, round(SHARE_OF_CANVAS * canvas))
    # Standardised there: black is the smallest value, white the largest.
    low, high = images['train'].min(), images['train'].max()
    train, test = (enlarged((images[split][..., 0] - low) / (high - low), size) for split in ('train', 'test'))
    return Digits(train, test, 'bouncing digits')


def idx_digits(path):
    """The digits of an idx file, or of the idx files in a folder, as they are.

    Where only one file is there its first six sevenths are for training and the rest for tests; the name says so.
    Raises FileNotFoundError and ValueError for files that are missing or damaged, or hold images of two sizes.
    """
    path = Path(path)
    files = idx_files.find_idx_images(path) if path.is_dir() else {'both': path}
    images = {split: array_files.scaled(idx_files.read_idx_images(file)) for split, file in files.items()}
    if len(images) == 1:
        ((file, only),) = zip(files.values(), images.values(), strict=True)
        count = len(only) // (TRAINING_SHARE + 1)
        if not count:
            raise ValueError(f'{file} must hold at least {TRAINING_SHARE + 1} images to be divided, got {len(only)}')
        return Digits(only[:-count], only[-count:], f'bouncing digits of {file.name}, the last {count} for tests')
    if images['train'].shape[1:] != images['test'].shape[1:]:
        shapes = {str(files[split]): images[split].shape for split in images}
        raise ValueError(f'images for training and tests must have one size, got {shapes}')
    return Digits(images['train'], images['test'], f'bouncing digits of {path}')


def enlarged(images, size):
    """Images (N, h, w) from 0 to 1 as (N, size, size), linearly interpolated, with three times the contrast.

    >>> enlarged(np.array([[[0.0, 1.0], [0.0, 1.0]]]), 4)[0, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    down, across = (_interpolation(length, size) for length in images.shape[1:])
    larger = down @ images.astype(np.float64) @ across.T
    return np.clip((larger - 0.5) * _CONTRAST + 0.5, 0, 1).astype(np.float32)


def _interpolation(length, size):
    """(size, length): weights of the old pixels for the new ones, whose centres are spread evenly."""
    centre = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    return np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(length)[None, :]))
