"""Weighted F-measure: errors count by where they are, near the foreground or far from it."""

import numpy as np
from scipy import ndimage

from flax_dynconv.training.saliency.predictions import checked

EPSILON = 1e-6
RADIUS, SIGMA = 3, 5.0
HALF_LIFE = 5.0  # pixels


def weighted_f(predicted, mask):
    """Q = 2 R P / (R + P + 1e-6) of precision and recall of weighted errors, beta = 1; 0.0 of an empty mask.

    With E = |p - g| and, for a pixel of the background, E' the error of the nearest pixel of the foreground (E' = E in
    the foreground), the weighted error is

    * foreground: min(E, G * E'), G a Gaussian of 7x7 pixels with sigma 5 and zeros outside of the image: errors that
      neighbours do not share count less;
    * background: E * (2 - 0.5 ** (d / 5)), d the distance in pixels to the foreground: more, the farther off.

    TP = sum(g) - sum of it over the foreground, FP = its sum over the background, R = 1 - its mean over the
    foreground, P = TP / (TP + FP + 1e-6). predicted (H, W) in [0, 1], mask (H, W) 0 or 1; ValueError for others.

    >>> mask = np.zeros((9, 9), int)
    >>> mask[3:6, 3:6] = 1
    >>> round(weighted_f(mask, mask), 4), round(weighted_f(1 - mask, mask), 4)
    (1.0, 0.0)

    Source: Margolin et al., "How to Evaluate Foreground Maps?" (CVPR 2014), as in lartpang/HDFNet's `CalWFM`. Of
    pixels of the foreground that are equally near it is SciPy that chooses, here as there.
    """
    predicted, mask = checked(predicted, mask)
    if not mask.any():
        return 0.0
    error = np.abs(predicted - mask)
    distance, (rows, columns) = ndimage.distance_transform_edt(~mask, return_indices=True)
    # In the foreground the nearest pixel is the pixel itself.
    shared = _blurred(error[rows, columns])
    errors = np.where(mask, np.minimum(error, shared), error * (2 - 0.5 ** (distance / HALF_LIFE)))
    missed, false = np.sum(errors[mask]), np.sum(errors[~mask])
    area = np.sum(mask)
    precision = (area - missed) / (EPSILON + area - missed + false)
    recall = 1 - missed / area
    return float(2 * recall * precision / (EPSILON + recall + precision))


def _blurred(image):
    """Filtered along both axes, as a Gaussian is separable, and so is its window."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    for axis in (0, 1):
        image = ndimage.correlate1d(image, taps / taps.sum(), axis=axis, mode='constant')
    return image
