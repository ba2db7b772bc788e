"""Scores over images: means of figures, but max F of mean curves; totals add up."""

import numpy as np
import pytest

from flax_dynconv.training.saliency.scores import MEANS, SaliencyScores, image_scores, mean_absolute_error
from tests.training.saliency import by_loops


def problem(count=4):
    """Images of several sizes, one of them with an empty mask."""
    random = np.random.default_rng(0)
    for k in range(count):
        mask = random.random((6 + k, 9 - k)) < 0.4 * (k != 2)
        yield np.where(mask, 0.5, 0.25 * random.integers(0, 5, mask.shape)), mask


def test_summary_is_that_of_loops():
    scores, images = SaliencyScores(), list(problem())
    for predicted, mask in images:
        scores.add(predicted, mask)
    found = scores.summary()
    assert tuple(found) == ('max_f', 'mean_f', *MEANS)
    assert found['mae'] == pytest.approx(np.mean([abs(p - m).mean() for p, m in images]))
    for name, figure in {
        'adaptive_f': 'adaptive_f',
        'weighted_f': 'weighted_f',
        's_measure': 'structure_measure',
    }.items():
        each = [getattr(by_loops, figure)(*image) for image in images]
        assert found[name] == pytest.approx(np.mean(each), rel=1e-11), name
    each = [by_loops.alignment_measure(*image) for image in images]
    assert found['e_measure'] == pytest.approx(np.mean(each), rel=1e-11)
    # The largest F of the mean curves, and not the mean of the largest.
    precision, recall = np.mean([by_loops.precision_recall(*image) for image in images], axis=0)
    each = 1.3 * precision * recall / (0.3 * precision + recall + 1e-8)
    assert found['max_f'] == pytest.approx(max(each))
    assert found['mean_f'] == pytest.approx(sum(each) / 255)
    np.testing.assert_allclose(scores.curve(), (precision, recall), rtol=1e-11)


def test_totals_of_parts_add_up():
    """As those of several hosts do."""
    whole, parts = SaliencyScores(), (SaliencyScores(), SaliencyScores())
    for k, image in enumerate(problem()):
        whole.add(*image)
        parts[k % 2].add(*image)
    added = {name: parts[0].totals[name] + parts[1].totals[name] for name in whole.totals}
    assert added['count'] == 4
    assert SaliencyScores(added).summary() == pytest.approx(whole.summary())


def test_an_empty_mask_has_no_f_but_counts():
    scores = SaliencyScores()
    scores.add(np.eye(4), np.eye(4))
    before = scores.summary()
    scores.add(np.zeros((4, 4)), np.zeros((4, 4)))
    after = scores.summary()
    assert after['adaptive_f'] == before['adaptive_f'] / 2 and after['weighted_f'] == before['weighted_f'] / 2
    assert after['max_f'] == pytest.approx(before['max_f'] / 2, rel=1e-6)
    assert after['s_measure'] == (before['s_measure'] + 1) / 2 and after['mae'] == 0


def test_totals_given_are_not_changed():
    given = image_scores(np.eye(3), np.eye(3))
    scores = SaliencyScores(given)
    scores.add(np.eye(3), np.eye(3))
    assert given['count'] == 1 and scores.totals['count'] == 2


def test_mean_absolute_error():
    assert mean_absolute_error([[0.25, 1.0, 0.0]], [[1, 1, 1]]) == pytest.approx(1.75 / 3)


def test_without_an_image():
    with pytest.raises(ValueError, match='add must be called before, got no image'):
        SaliencyScores().summary()
