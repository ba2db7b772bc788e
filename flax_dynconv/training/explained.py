"""Scores that compare an error with that of a constant, and test data on which they say nothing."""

import numpy as np

# Sums are float32 within a batch: what is left of a difference of means below that share of them is rounding.
_ROUNDING = 1e-6


def share_explained(error, constant, square=0.0):
    """1 - error / constant: 1 for no error, 0 for that of the best constant; 0 too where the constant has no error.

    `square` is the mean square that `constant` is a difference from: what is within its rounding counts as no error.

    >>> share_explained(0.1, 0.4), share_explained(0.1, 1e-9, square=0.3)
    (0.75, 0.0)
    """
    return 1 - error / constant if constant > _ROUNDING * square else 0.0


def check_explicable(targets, name, what):
    """ValueError that names the data unless the arrays `targets` (an iterable, read up to a difference) differ.

    >>> check_explicable(iter([np.zeros(2), np.ones(2)]), 'x.npy', 'test frames')
    """
    targets = iter(targets)
    first = next(targets)
    if all(np.array_equal(first, other) for other in targets):
        raise ValueError(
            f'{name}: {what} must differ, got the same in all: there would be nothing to learn or to score'
        )
