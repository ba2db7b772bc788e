"""Detections of random maps against loops over levels, locations and classes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.models.condinst import InstanceMaps, detect
from tests.models.condinst.test_nms import by_loops
from tests.models.tiny import quick

STRIDES, SIZES = (8, 16), (64, 128)
SHAPES, CLASSES = ((6, 5), (3, 3)), 3


def maps(dtype=jnp.float32, seed=0, batch=2):
    random = np.random.default_rng(seed)

    def levels(channels, shift=0.0):
        return tuple(jnp.asarray(random.normal(shift, 1.5, (batch, h, w, channels)), dtype) for h, w in SHAPES)

    logits, distances, centerness = levels(CLASSES, -1), levels(4, 1), levels(1, 1)
    distances = tuple(jnp.maximum(each, 0) for each in distances)
    return InstanceMaps(logits, distances, centerness, levels(7), jnp.zeros((batch, 6, 5, 8), dtype))


IMAGE_SIZES = np.array([[48, 40], [30, 25]])
OPTIONS = {'strides': STRIDES, 'sizes_of_interest': SIZES, 'pre_nms': 12, 'nms_threshold': 0.4}


@functools.cache
def compiled(threshold, most):
    return quick(functools.partial(detect, **OPTIONS, score_threshold=threshold, max_detections=most))


def found(maps, threshold=0.3, most=9):
    return compiled(threshold, most)(maps, jnp.asarray(IMAGE_SIZES))


def by_definition(maps, image, threshold, most, pre_nms=12, overlap=0.4):
    """(box, score, class, parameters, location, scale) of each detection in float64."""
    candidates = []
    for level, stride in enumerate(STRIDES):
        logits, distances, centerness, parameters = (np.asarray(each[level][image], np.float64) for each in maps[:4])
        p = 1 / (1 + np.exp(-logits)) / (1 + np.exp(-centerness))
        pairs = [place for place in np.ndindex(p.shape) if p[place] > threshold]
        for y, x, c in sorted(pairs, key=lambda place: -p[place])[:pre_nms]:
            place = stride * x + stride // 2, stride * y + stride // 2
            left, top, right, bottom = distances[y, x] * stride
            box = place[0] - left, place[1] - top, place[0] + right, place[1] + bottom
            candidates.append((box, p[y, x, c] ** 0.5, c, parameters[y, x], place, SIZES[level]))
    boxes, scores, classes = (np.array([each[i] for each in candidates]) for i in range(3))
    kept = by_loops(boxes, scores, classes, np.ones(len(boxes), bool), overlap)[:most]
    height, width = IMAGE_SIZES[image]
    limits = np.array([width, height, width, height])
    return [(np.clip(candidates[i][0], 0, limits), *candidates[i][1:]) for i in kept]


@pytest.mark.parametrize('threshold, most', [(0.05, 40), (0.3, 9)])
def test_detections_are_those_of_the_definition(threshold, most):
    made = maps()
    actual = found(made, threshold, most)
    assert actual.boxes.shape == (2, most, 4) and actual.classes.dtype == jnp.int32
    shown = 0
    for image in range(2):
        expected = by_definition(made, image, threshold, most)
        for slot in range(most):
            if slot >= len(expected):
                assert not actual.valid[image, slot]
                continue
            box = expected[slot][0]
            assert actual.valid[image, slot] == bool((box[2:] > box[:2]).all())
            for array, value in zip((a[image, slot] for a in (*actual[:3], *actual[4:])), expected[slot], strict=True):
                np.testing.assert_allclose(array, value, rtol=1e-5, atol=1e-4)
            shown += int(actual.valid[image, slot])
    assert shown > most and bool((np.asarray(actual.valid).sum(1) < 40).all())


def test_half_precision_is_computed_in_float32():
    made = maps(jnp.bfloat16)
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), made)
    actual, expected = found(made), found(wide)
    assert actual.parameters.dtype == jnp.bfloat16 and actual.boxes.dtype == actual.scores.dtype == jnp.float32
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


def test_nothing_is_found_in_a_blank():
    made = maps()
    low = made._replace(logits=tuple(jnp.full_like(each, -9.0) for each in made.logits))
    assert not found(low).valid.any()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'image_sizes: expected the shape \(2, 2\), got \(1, 2\)'):
        detect(maps(), jnp.asarray(IMAGE_SIZES[:1]), **OPTIONS)
    with pytest.raises(ValueError, match='strides: expected one for each of 2 levels'):
        detect(maps(), jnp.asarray(IMAGE_SIZES), **OPTIONS | {'strides': (8,)})
    with pytest.raises(ValueError, match='max_detections'):
        detect(maps(), jnp.asarray(IMAGE_SIZES), **OPTIONS, max_detections=0)
