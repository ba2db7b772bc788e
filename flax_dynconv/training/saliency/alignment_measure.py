"""E-measure: how prediction and mask agree, pixel by pixel, in their deviations from their means."""

import numpy as np

from flax_dynconv.training.saliency.f_measure import adaptive_threshold
from flax_dynconv.training.saliency.predictions import checked

EPSILON = 1e-8


def alignment_measure(predicted, mask):
    """E = sum((1 + 2 a b / (a^2 + b^2 + 1e-8))^2 / 4) / (H W - 1 + 1e-8) over pixels, at `adaptive_threshold`.

    a = f - mean(f) of the prediction f, 0 or 1 below and above the threshold, b = g - mean(g) of the mask. Of an empty
    mask the summands are 1 - f, of a full one f. As of H W - 1 pixels, a perfect prediction has a little more than 1.
    predicted (H, W) in [0, 1], mask (H, W) 0 or 1; ValueError for others.

    >>> mask = np.eye(10, dtype=int)
    >>> round(alignment_measure(mask, mask), 4), round(alignment_measure(1 - mask, mask), 4)
    (1.0101, 0.0)

    Source: Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation" (IJCAI 2018), as in
    lartpang/HDFNet's `CalEM`.
    """
    predicted, mask = checked(predicted, mask)
    found = predicted >= adaptive_threshold(predicted)
    if not mask.any():
        each = ~found
    elif mask.all():
        each = found
    else:
        a, b = found - np.mean(found), mask - np.mean(mask)
        each = (1 + 2 * a * b / (a * a + b * b + EPSILON)) ** 2 / 4
    return float(np.sum(each) / (max(1, mask.size - 1) + EPSILON))
