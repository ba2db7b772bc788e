"""All measures of saliency: of one image, added up over images, and as the figures that are published."""

import numpy as np

from flax_dynconv.training.saliency.alignment_measure import alignment_measure
from flax_dynconv.training.saliency.f_measure import adaptive_f, f_curve, precision_recall
from flax_dynconv.training.saliency.predictions import checked
from flax_dynconv.training.saliency.structure_measure import structure_measure
from flax_dynconv.training.saliency.weighted_f import weighted_f

MEANS = ('adaptive_f', 'weighted_f', 'mae', 's_measure', 'e_measure')


def mean_absolute_error(predicted, mask):
    """The mean of |p - g| over the pixels; predicted (H, W) in [0, 1], mask (H, W) 0 or 1, ValueError for others.

    >>> mean_absolute_error(np.array([[0.0, 0.75]]), np.array([[0, 1]]))
    0.125
    """
    predicted, mask = checked(predicted, mask)
    return float(np.mean(np.abs(predicted - mask)))


def image_scores(predicted, mask):
    """What images add up: count (1), `MEANS`, and precision and recall (255,) of one image.

    predicted (H, W) in [0, 1], as `predictions.judged` gives it, mask (H, W) 0 or 1. Raises ValueError for others.

    >>> sorted(image_scores(np.eye(4), np.eye(4)))[:4]
    ['adaptive_f', 'count', 'e_measure', 'mae']
    """
    precision, recall = precision_recall(predicted, mask)
    return {
        'count': 1,
        'precision': precision,
        'recall': recall,
        'adaptive_f': adaptive_f(predicted, mask),
        'weighted_f': weighted_f(predicted, mask),
        'mae': mean_absolute_error(predicted, mask),
        's_measure': structure_measure(predicted, mask),
        'e_measure': alignment_measure(predicted, mask),
    }


class SaliencyScores:
    """`image_scores` added up: `totals` of several may be added too, of several hosts for instance.

    Every image counts the same, whatever its size; those with an empty mask have F-measures of 0, as in
    lartpang/HDFNet's `CalTotalMetric`.

    >>> scores = SaliencyScores()
    >>> scores.add(np.eye(4), np.eye(4))
    >>> {name: round(value, 3) for name, value in scores.summary().items()}
    {'max_f': 1.0, 'mean_f': 0.997, 'adaptive_f': 1.0, 'weighted_f': 1.0, 'mae': 0.0, 's_measure': 1.035,
     'e_measure': 1.067}
    """

    def __init__(self, totals=None):
        self.totals = dict(totals or {})

    def add(self, predicted, mask):
        """One image more; see `image_scores`."""
        for name, value in image_scores(predicted, mask).items():
            self.totals[name] = self.totals.get(name, 0) + value

    def curve(self):
        """Precision and recall (255,), the means over the images, from the highest threshold to 0."""
        return tuple(self._mean(name) for name in ('precision', 'recall'))

    def summary(self):
        """max_f and mean_f, largest value and mean over the thresholds of the mean curves' F, and the means of `MEANS`.

        ValueError without an image.
        """
        f = f_curve(*self.curve())
        return {
            'max_f': float(f.max()),
            'mean_f': float(f.mean()),
            **{name: float(self._mean(name)) for name in MEANS},
        }

    def _mean(self, name):
        if not self.totals:
            raise ValueError('scores are means over images: add must be called before, got no image')
        return self.totals[name] / self.totals['count']
