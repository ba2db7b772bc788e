"""F-measures of a saliency map: at a threshold of its own, and at all thresholds with precision and recall."""

import numpy as np

from flax_dynconv.training.saliency.predictions import checked

BETA_SQUARED = 0.3
THRESHOLDS = 255
EPSILON = 1e-8


def adaptive_threshold(predicted):
    """min(2 mean(p), 1): what is at least this is taken for foreground, all pixels of a blank prediction therefore.

    >>> adaptive_threshold(np.array([[0.0, 0.5]])), adaptive_threshold(np.array([[0.5, 1.0]]))
    (0.5, 1.0)

    Source: Achanta et al., "Frequency-tuned Salient Region Detection" (CVPR 2009).
    """
    return min(2 * float(np.mean(predicted)), 1.0)


def adaptive_f(predicted, mask):
    """F = 1.3 P R / (0.3 P + R) at `adaptive_threshold`; 0.0 where no foreground pixel is found.

    predicted (H, W) in [0, 1], mask (H, W) 0 or 1. Raises ValueError for others.

    >>> round(adaptive_f(np.array([[1.0, 0.8, 0.0, 0.0]]), np.array([[1, 0, 0, 0]])), 4)
    1.0
    >>> round(adaptive_f(np.array([[1.0, 1.0, 0.0, 0.0]]), np.array([[1, 0, 0, 0]])), 4)
    0.5652

    Source: Achanta et al., "Frequency-tuned Salient Region Detection" (CVPR 2009), as in lartpang/HDFNet's `CalFM`.
    """
    predicted, mask = checked(predicted, mask)
    found = predicted >= adaptive_threshold(predicted)
    hits = np.sum(found & mask)
    if not hits:
        return 0.0
    precision, recall = hits / np.sum(found), hits / np.sum(mask)
    return float((1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall))


def precision_recall(predicted, mask):
    """Precision and recall (255,), float64, where floor(255 p) >= 254, 253, ..., 0; zeros of an empty mask.

    predicted (H, W) in [0, 1], mask (H, W) 0 or 1. Precision is TP / (TP + FP + 1e-8): 0 where nothing is found. Raises
    ValueError for others.

    >>> precision, recall = precision_recall(np.array([[1.0, 0.5]]), np.array([[1, 0]]))
    >>> precision[[0, 127, 254]].round(4).tolist(), recall[[0, 127, 254]].tolist()
    ([1.0, 0.5, 0.5], [1.0, 1.0, 1.0])

    Source: lartpang/HDFNet's `CalFM`; 254 and 255 are one level there, too.
    """
    predicted, mask = checked(predicted, mask)
    if not mask.any():
        return np.zeros(THRESHOLDS), np.zeros(THRESHOLDS)
    levels = np.minimum((predicted * 255).astype(np.uint8), THRESHOLDS - 1)

    def at_least(levels):
        return np.cumsum(np.bincount(levels, minlength=THRESHOLDS)[::-1])

    hits, found = at_least(levels[mask]), at_least(levels.ravel())
    return hits / (found + EPSILON), hits / np.sum(mask)


def f_curve(precision, recall):
    """F = 1.3 P R / (0.3 P + R + 1e-8) at each threshold; of the mean curves of all images its maximum is max F.

    >>> f_curve(np.array([1.0, 0.5]), np.array([1.0, 1.0])).round(4).tolist()
    [1.0, 0.5652]
    """
    return (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall + EPSILON)
