"""S-measure: how alike prediction and mask are as objects, and quarter by quarter around the object's centre."""

import numpy as np

from flax_dynconv.training.saliency.predictions import checked

EPSILON = 1e-8


def structure_measure(predicted, mask, alpha=0.5):
    """S = alpha S_object + (1 - alpha) S_region; of an empty mask 1 - mean(p), of a full one mean(p).

    predicted p (H, W) in [0, 1], mask g (H, W) 0 or 1; ValueError for others.

    * S_object = u O(p in g) + (1 - u) O(1 - p outside of g) with u = mean(g) and
      O(v) = 2 mean(v) / (mean(v)^2 + 1 + std(v) + 1e-8).
    * S_region: the four quarters around the centroid of the mask, its pixel being the last of the upper left one, have
      4 m_p m_g c / ((m_p^2 + m_g^2) (v_p + v_g) + 1e-8) each, weighted by their areas; m, v, c are means, variances and
      covariance, of which c is over N - 1 and v over N pixels. It is 1 if numerator and denominator are 0, 0 if only
      the numerator is. A quarter of a single pixel has covariance 0; there may be fewer than four quarters.

    For N - 1 a perfect prediction has a little more than 1, the more the smaller the image.

    >>> mask = np.array([[1, 1, 0, 0], [0, 0, 0, 0]])
    >>> round(structure_measure(np.full(mask.shape, 0.5), mask), 4)
    0.7125

    Source: Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps" (ICCV 2017), as in lartpang/HDFNet's
    `CalSM`, which gives NaN where a quarter is empty or a single pixel.
    """
    predicted, mask = checked(predicted, mask)
    if not mask.any():
        return float(1 - np.mean(predicted))
    if mask.all():
        return float(np.mean(predicted))
    return float(alpha * _objects(predicted, mask) + (1 - alpha) * _regions(predicted, mask))


def _objects(predicted, mask):
    area = np.mean(mask)
    return area * _object(predicted[mask]) + (1 - area) * _object(1 - predicted[~mask])


def _object(values):
    mean = np.mean(values)
    return 2 * mean / (mean**2 + 1 + np.std(values) + EPSILON)


def _regions(predicted, mask):
    # Halves are rounded to even numbers.
    row, column = (round(float(np.mean(indices))) + 1 for indices in np.nonzero(mask))
    score = 0.0
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            quarter = mask[rows, columns]
            if quarter.size:
                score += quarter.size / mask.size * _similarity(predicted[rows, columns], quarter.astype(np.float64))
    return score


def _similarity(p, g):
    mean_p, mean_g = np.mean(p), np.mean(g)
    covariance = np.sum((p - mean_p) * (g - mean_g)) / max(1, p.size - 1)
    numerator = 4 * mean_p * mean_g * covariance
    denominator = (mean_p**2 + mean_g**2) * (np.var(p) + np.var(g))
    if numerator != 0:
        return numerator / (denominator + EPSILON)
    return 1.0 if denominator == 0 else 0.0
