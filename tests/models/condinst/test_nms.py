"""Suppression against a greedy loop over sorted boxes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.models.condinst import box_iou, boxes_at, greedy_nms


def iou(a, b):
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared) if sum(areas) > shared else 0.0


def by_loops(boxes, scores, classes, valid, threshold):
    left = [i for i in np.argsort(-scores, kind='stable').tolist() if valid[i]]
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        left = [i for i in left if classes[i] != classes[best] or not iou(boxes[i], boxes[best]) > threshold]
    return kept


def drawn(seed, count=60, classes=3):
    """Boxes with whole corners, many of which are the same or touch; few different scores."""
    random = np.random.default_rng(seed)
    low = random.integers(0, 12, (count, 2))
    boxes = np.concatenate([low, low + random.integers(0, 9, (count, 2))], axis=1).astype(np.float32)
    scores = random.integers(1, 20, count).astype(np.float32) / 20
    return boxes, scores, random.integers(0, classes, count).astype(np.int32), random.random(count) < 0.85


@functools.partial(jax.jit, static_argnums=5)
def suppressed(boxes, scores, classes, valid, threshold, most):
    return jax.vmap(lambda *arrays: greedy_nms(*arrays, threshold, most))(boxes, scores, classes, valid)


@pytest.mark.parametrize('threshold', [0.6, 0.5, 0.0, 1.0])
@pytest.mark.parametrize('most', [10, 70])
def test_suppression_is_that_of_loops(threshold, most):
    """Ties of scores, overlaps of exactly the threshold, boxes without an area; more and fewer outputs than boxes."""
    images = [drawn(seed) for seed in range(8)]
    index, found = suppressed(*(jnp.asarray(np.stack(each)) for each in zip(*images, strict=True)), threshold, most)
    assert index.shape == found.shape == (8, most) and index.dtype == jnp.int32
    counts = []
    for row, (boxes, scores, classes, valid) in enumerate(images):
        expected = by_loops(boxes, scores, classes, valid, threshold)[:most]
        assert np.asarray(index[row])[np.asarray(found[row])].tolist() == expected
        assert found[row].tolist() == [i < len(expected) for i in range(most)]
        assert not index[row][len(expected) :].any()
        counts.append(len(expected))
    assert most == 10 or max(counts) < most


def test_classes_do_not_suppress_each_other():
    boxes, scores = jnp.tile(jnp.array([[0.0, 0, 8, 8]]), (4, 1)), jnp.array([0.3, 0.9, 0.5, 0.5])
    index, valid = greedy_nms(boxes, scores, jnp.array([0, 1, 0, 2]), jnp.ones(4, bool), 0.6, 4)
    assert (index.tolist(), valid.tolist()) == ([1, 2, 3, 0], [True, True, True, False])


def test_without_any_box():
    index, valid = greedy_nms(jnp.zeros((3, 4)), jnp.ones(3), jnp.zeros(3, jnp.int32), jnp.zeros(3, bool), 0.6, 2)
    assert not valid.any() and not index.any()


def test_overlaps_are_those_of_loops():
    boxes = np.concatenate([drawn(seed, 20)[0] for seed in range(2)])
    found = box_iou(jnp.asarray(boxes)[:, None], jnp.asarray(boxes)[None])
    np.testing.assert_allclose(found, [[iou(a, b) for b in boxes] for a in boxes], rtol=1e-6)


def test_corners_are_left_top_right_bottom():
    found = boxes_at(jnp.array([[10.0, 20.0]]), jnp.array([[1.0, 2.0, 3.0, 4.0]]))
    assert found.tolist() == [[9.0, 18.0, 13.0, 24.0]]


def test_mistakes_are_named():
    arrays = [jnp.zeros((3, 4)), jnp.zeros(3), jnp.zeros(3, jnp.int32), jnp.zeros(3, bool)]
    for position, name in enumerate(('boxes', 'scores', 'classes', 'valid')):
        wrong = [*arrays]
        wrong[position] = jnp.zeros((3, 5))
        with pytest.raises(ValueError, match=rf'{name}: expected the shape .*, got \(3, 5\)'):
            greedy_nms(*wrong, 0.5, 2)
    with pytest.raises(ValueError, match='max_outputs'):
        greedy_nms(*arrays, 0.5, 0)
    with pytest.raises(ValueError, match=r'expected shapes \(\.\.\., 2\) and \(\.\.\., 4\), got \(3, 2\) and \(2, 4\)'):
        boxes_at(jnp.zeros((3, 2)), jnp.zeros((2, 4)))
