"""Measures of saliency against loops over pixels, and against figures worked out by hand."""

import numpy as np
import pytest

from flax_dynconv.training.saliency.alignment_measure import alignment_measure
from flax_dynconv.training.saliency.f_measure import adaptive_f, adaptive_threshold, f_curve, precision_recall
from flax_dynconv.training.saliency.structure_measure import structure_measure
from flax_dynconv.training.saliency.weighted_f import weighted_f
from tests.training.saliency import by_loops

SHAPE = (11, 13)
MEASURES = (adaptive_f, precision_recall, structure_measure, alignment_measure)


def masks():
    random = np.random.default_rng(0)
    disc, corner, pixel, rows = (np.zeros(SHAPE, bool) for _ in range(4))
    i, j = np.indices(SHAPE)
    disc[(i - 5) ** 2 + (j - 4) ** 2 < 12] = corner[-3:, -4:] = pixel[4, 9] = rows[:4] = True
    noise = random.random(SHAPE) < 0.4
    return {'disc': disc, 'corner': corner, 'pixel': pixel, 'rows': rows, 'noise': noise}


def predictions(mask):
    """In steps of 1/256, whose means are exact in any order: variances are 0 where they should be."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 257, SHAPE) / 256
    return {
        'noise': noise,
        'good': 0.75 * mask + 0.25 * noise,
        'inverted': 1.0 - mask,
        'exact': mask * 1.0,
        'binary': noise.round(),
        'constant': np.full(SHAPE, 0.375),
        'zeros': np.zeros(SHAPE),
        'ones': np.ones(SHAPE),
    }


@pytest.mark.parametrize('measure', MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize('name', [*masks(), 'empty', 'full'])
def test_measures_are_those_of_loops(measure, name):
    mask = {**masks(), 'empty': np.zeros(SHAPE, bool), 'full': np.ones(SHAPE, bool)}[name]
    for kind, predicted in predictions(mask).items():
        expected = getattr(by_loops, measure.__name__)(predicted, mask)
        np.testing.assert_allclose(measure(predicted, mask), expected, rtol=1e-11, atol=1e-12, err_msg=kind)


def test_weighted_f_is_that_of_loops():
    """One pixel or whole rows: the nearest is unique. Otherwise the foreground has the same error everywhere."""
    cases = masks()
    for name, mask in {**cases, 'empty': np.zeros(SHAPE, bool), 'full': np.ones(SHAPE, bool)}.items():
        for kind, predicted in predictions(mask).items():
            flat = predicted if name in ('pixel', 'rows', 'full') else np.where(mask, 0.625, predicted)
            expected = by_loops.weighted_f(flat, mask)
            np.testing.assert_allclose(weighted_f(flat, mask), expected, rtol=1e-11, atol=1e-12, err_msg=(name, kind))


def test_weighted_f_by_hand():
    """One pixel of foreground, found to one half; one false pixel of 0.25 at a distance of 5 pixels."""
    mask, predicted = np.zeros((7, 15), bool), np.zeros((7, 15))
    mask[3, 5] = True
    predicted[3, 5], predicted[3, 10] = 0.5, 0.25
    # Every pixel borrows the same error of 0.5, so that the Gaussian, whole within the image, gives 0.5.
    missed, false = 0.5, 0.25 * (2 - 0.5)
    recall, precision = 0.5, 0.5 / (0.5 + false)
    expected = 2 * recall * precision / (recall + precision)
    assert missed + false == 0.875 and weighted_f(predicted, mask) == pytest.approx(expected, abs=3e-6)
    # At the lower edge the window has zeros outside, 4 of its 7 rows are left.
    weights = np.exp(-(np.arange(-3, 4) ** 2) / 50)
    share = weights[:4].sum() / weights.sum()
    at_edge, low = np.zeros((7, 15), bool), np.zeros((7, 15))
    at_edge[6, 5] = True
    recall = 1 - share
    assert weighted_f(low, at_edge) == pytest.approx(2 * recall / (recall + 1), abs=3e-6)


def test_weighted_f_of_perfect_and_hopeless_maps():
    for name, mask in masks().items():
        assert weighted_f(mask, mask) == pytest.approx(1, abs=2e-6), name
    inside = np.zeros((15, 15), bool)
    inside[5:10, 5:10] = True
    assert weighted_f(~inside, inside) == pytest.approx(0, abs=1e-12)
    assert weighted_f(np.ones(SHAPE), np.zeros(SHAPE)) == 0.0


def test_false_pixels_weigh_more_far_away():
    mask = np.zeros((9, 30), bool)
    mask[3:6, 2:5] = True
    figures = []
    for column in (6, 10, 20):
        predicted = mask * 1.0
        predicted[4, column] = 1
        figures.append(weighted_f(predicted, mask))
    assert 1 > figures[0] > figures[1] > figures[2] > 0.8


def test_adaptive_f_by_hand():
    mask = np.array([[1, 1, 0, 0]])
    assert adaptive_threshold(np.array([[1, 0.5, 0.5, 0]])) == 1.0
    # One of two found, none false: P = 1, R = 1/2.
    assert adaptive_f([[1, 0.5, 0.5, 0]], mask) == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))
    # The threshold is 2 * 0.25: two found, one of them false.
    assert adaptive_f([[0.5, 0.0, 0.5, 0.0]], mask) == pytest.approx(0.5)
    assert adaptive_f([[0.0, 0.0, 0.5, 0.5]], mask) == 0.0
    # Nothing is predicted, and 0 >= 2 * 0 is true everywhere.
    assert adaptive_f(np.zeros((1, 4)), mask) == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))
    assert adaptive_f(np.ones((1, 4)), np.zeros((1, 4))) == 0.0


def test_precision_and_recall_by_hand():
    precision, recall = precision_recall(np.array([[255, 254, 100, 0]]) / 255, np.array([[1, 0, 1, 0]]))
    assert precision.shape == recall.shape == (255,)
    # From 254 down, which 255 counts as, too.
    np.testing.assert_allclose(precision, [0.5] * 154 + [2 / 3] * 100 + [0.5], rtol=1e-7)
    np.testing.assert_allclose(recall, [0.5] * 154 + [1.0] * 101)
    best = f_curve(precision, recall).max()
    assert best == pytest.approx(1.3 * 2 / 3 / (0.3 * 2 / 3 + 1), rel=1e-7)


def test_structure_measure_by_hand():
    """Half of 4 x 4: the object is found with 0.75, the rest has 0.25."""
    mask = np.zeros((4, 4), bool)
    mask[:, :2] = True
    predicted = np.where(mask, 0.75, 0.25)
    objects = 2 * 0.75 / (0.75**2 + 1)
    # Centroid: row 1.5 is rounded to 2, column 0.5 to 0; quarters of 3 x 1, 3 x 3, 1 x 1 and 1 x 3 pixels. Both on the
    # left are constant. In both on the right one of three columns is foreground, and the prediction is 1/4 + mask / 2.
    mean_g, variance_g = 1 / 3, 2 / 9
    mean_p, variance_p = 1 / 4 + mean_g / 2, variance_g / 4
    regions = 4 / 16 * 1.0
    for size in (9, 3):
        covariance = variance_g / 2 * size / (size - 1)
        below = (mean_p**2 + mean_g**2) * (variance_p + variance_g)
        regions += size / 16 * 4 * mean_p * mean_g * covariance / (below + 1e-8)
    assert structure_measure(predicted, mask) == pytest.approx(0.5 * objects + 0.5 * regions, rel=1e-7)
    assert structure_measure(predicted, mask, alpha=1.0) == pytest.approx(objects, rel=1e-7)
    assert structure_measure(predicted, mask, alpha=0.0) == pytest.approx(regions, rel=1e-7)


@pytest.mark.parametrize('value', [0.0, 0.25, 1.0])
def test_measures_of_constant_predictions_of_masks_of_one_class(value):
    """A constant is at least twice its mean only at 0 and from 1/2 on: then all is foreground, otherwise nothing."""
    constant, empty, full = np.full((3, 4), value), np.zeros((3, 4)), np.ones((3, 4))
    found = value in (0.0, 1.0)
    assert structure_measure(constant, empty) == 1 - value
    assert structure_measure(constant, full) == value
    assert alignment_measure(constant, empty) == pytest.approx(12 / 11 * (not found))
    assert alignment_measure(constant, full) == pytest.approx(12 / 11 * found)
    assert adaptive_f(constant, full) == found
    assert adaptive_f(constant, empty) == weighted_f(constant, empty) == 0.0


def test_alignment_measure_by_hand():
    mask = np.array([[1, 1, 0, 0]])
    assert alignment_measure(mask, mask) == pytest.approx(4 / 3, rel=1e-6)
    assert alignment_measure(1 - mask, mask) == pytest.approx(0, abs=1e-12)
    # One of two: deviations 3/4 and -1/4 beside 1/2 and -1/2.
    alike, apart = (1 + 2 * 3 / 8 / (9 / 16 + 4 / 16)) ** 2 / 4, (1 - 2 / 8 / (1 / 16 + 4 / 16)) ** 2 / 4
    rest = (1 + 2 / 8 / (1 / 16 + 4 / 16)) ** 2 / 4
    assert alignment_measure([[1, 0, 0, 0]], mask) == pytest.approx((alike + apart + 2 * rest) / 3, rel=1e-6)


@pytest.mark.parametrize('measure', [*MEASURES, weighted_f], ids=lambda measure: measure.__name__)
def test_every_measure_refuses_other_arrays(measure):
    with pytest.raises(ValueError, match=r'predicted and mask must have the same shape \(H, W\)'):
        measure(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match='mask must be 0 or 1'):
        measure(np.zeros((2, 3)), np.full((2, 3), 0.5))
    with pytest.raises(ValueError, match='predicted must be from 0 to 1, got values from nan'):
        measure(np.full((2, 3), np.nan), np.zeros((2, 3)))
