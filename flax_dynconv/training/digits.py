"""Handwritten digits: 1,797 scans of 8x8 pixels that come with scikit-learn, so that nothing is downloaded."""

import numpy as np

from flax_dynconv.training.classification import Classification
from flax_dynconv.training.extras import require

TEST_FRACTION = 0.25
SPLIT_SEED = 0  # the held-out scans are the same in every run, whatever the run's own seed


def digits(label_smoothing=0.0):
    """The digits as a classification task: 1,347 training and 450 held-out scans, stratified by class.

    Pixels are standardised by mean and deviation of the training scans; training scans are shifted by up to one pixel
    in each direction. Raises ImportError without scikit-learn.

    Source: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998), its test part.
    """
    datasets = require('sklearn.datasets', 'reads the digits')
    selection = require('sklearn.model_selection', 'splits the digits')
    pixels, labels = datasets.load_digits(return_X_y=True)
    train, test = selection.train_test_split(
        np.arange(len(labels)), test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    images = pixels.reshape(-1, 8, 8, 1).astype(np.float32) / 16
    images = (images - images[train].mean()) / images[train].std()
    labels = labels.astype(np.int32)
    return Classification(
        'digits',
        {'train': images[train], 'test': images[test]},
        {'train': labels[train], 'test': labels[test]},
        num_outputs=10,
        augment=shift,
        label_smoothing=label_smoothing,
    )


def shift(images, generator, pixels=1):
    """Each image moved by a random whole number of pixels, at most `pixels` along each axis; the edge is repeated.

    >>> shift(np.ones((2, 8, 8, 1), np.float32), np.random.default_rng(0)).shape
    (2, 8, 8, 1)
    """
    batch, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode='edge')
    top, left = generator.integers(0, 2 * pixels + 1, (2, batch, 1, 1))
    rows = top + np.arange(height)[None, :, None]
    columns = left + np.arange(width)[None, None, :]
    return padded[np.arange(batch)[:, None, None], rows, columns]
