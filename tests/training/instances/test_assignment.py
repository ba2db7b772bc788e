"""Which object a location gets: by hand, and against loops over locations and objects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training.instances.assignment import assign, size_ranges

STRIDE = 8
COMPILED = jax.jit(assign, static_argnums=6)


def assigned(points, boxes, centers=None, levels=None, valid=None, sizes=(64, 128, 256), strides=None, radius=1.5):
    """Index and distances as lists; all locations are of the first level and all slots valid, if nothing is said."""
    points, boxes = np.asarray(points, np.float32), np.asarray(boxes, np.float32)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 if centers is None else np.asarray(centers, np.float32)
    levels = np.zeros(len(points), int) if levels is None else np.asarray(levels)
    strides = np.full(len(points), STRIDE) if strides is None else np.asarray(strides)
    valid = np.ones(len(boxes), bool) if valid is None else np.asarray(valid)
    # To few shapes: copies of the last location, and slots that are not valid.
    places, slots = (0, -len(points) % 50), (0, -len(boxes) % 8)
    arrays = [
        np.pad(a, (places, *[(0, 0)] * (a.ndim - 1)), 'edge') for a in (points, strides, size_ranges(sizes)[levels])
    ]
    arrays += [np.pad(a, (slots, *[(0, 0)] * (a.ndim - 1))) for a in (boxes, centers, valid)]
    index, distances = COMPILED(*arrays, radius)
    assert index.dtype == jnp.int32 and distances.dtype == jnp.float32
    return index[: len(points)].tolist(), distances[: len(points)].tolist()


def test_ranges_of_the_published_levels():
    expected = [[-1, 64], [64, 128], [128, 256], [256, 512], [512, 1e8]]
    assert size_ranges((64, 128, 256, 512, 1024)).tolist() == expected


def test_distances_are_in_strides():
    assert assigned([[20, 12]], [[16, 4, 36, 28]]) == ([0], [[0.5, 1.0, 2.0, 2.0]])


def test_of_several_objects_the_smallest_wins():
    boxes = [[0, 0, 40, 40], [10, 10, 30, 30], [12, 8, 28, 32]]
    assert assigned([[20, 20]], boxes)[0] == [2]  # 16 x 24 is less than 20 x 20
    assert assigned([[20, 20]], boxes, valid=[True, True, False])[0] == [1]


def test_of_equal_areas_the_first_wins():
    """20 x 20, 10 x 40 and 40 x 10 around the same point."""
    boxes = [[10, 10, 30, 30], [15, 0, 25, 40], [0, 15, 40, 25]]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        assert assigned([[20, 20]], [boxes[i] for i in order])[0] == [0]
    assert assigned([[20, 20]], boxes, valid=[False, True, True])[0] == [1]


def test_a_smaller_object_of_another_level_does_not_count():
    """The distance is 100 of the larger, 16 of the smaller one; each level has its own."""
    boxes = [[0, 0, 200, 200], [84, 84, 116, 116]]
    assert assigned([[100, 100]] * 2, boxes, levels=[0, 1])[0] == [1, 0]


@pytest.mark.parametrize('side, expected', [(63.5, [0, -1, -1]), (64, [0, 0, -1]), (64.5, [-1, 0, -1])])
def test_objects_on_the_border_of_levels_belong_to_both(side, expected):
    """The largest distance decides; both ends are within."""
    box = [[100 - side, 80, 110, 120]]
    assert assigned([[100, 100]] * 3, box, centers=[[100, 100]], levels=[0, 1, 2])[0] == expected


def test_the_upper_border_of_the_second_level():
    box = [[100 - 128, 80, 110, 120]]
    assert assigned([[100, 100]] * 3, box, centers=[[100, 100]], levels=[0, 1, 2])[0] == [-1, 0, 0]


def test_locations_on_the_edge_of_a_box_are_outside():
    points = [[10, 20], [10.5, 20], [30, 20], [29.5, 20], [20, 10], [20, 30]]
    assert assigned(points, [[10, 10, 30, 30]])[0] == [-1, 0, -1, 0, -1, -1]


def test_locations_a_radius_from_the_centre_are_outside():
    """1.5 strides of 8 are 12 pixels, of 16 they are 24."""
    points = [[38, 50], [38.5, 50], [62, 50], [61.5, 50], [50, 38], [50, 61.5], [61.5, 38.5]]
    assert assigned(points, [[20, 20, 80, 80]])[0] == [-1, 0, -1, 0, -1, 0, 0]
    assert assigned(points, [[20, 20, 80, 80]], strides=[16] * 7)[0] == [0] * 7


def test_a_centre_of_mass_outside_of_the_box():
    """Near enough it leaves a part of the box; too far away it leaves nothing."""
    points = [[12, 20], [16, 20], [20, 20], [4, 20]]
    assert assigned(points, [[10, 10, 30, 30]], centers=[[6, 20]])[0] == [0, 0, -1, -1]
    assert assigned(points, [[10, 10, 30, 30]], centers=[[-8, 20]])[0] == [-1] * 4


def test_a_centre_of_mass_that_is_not_the_middle():
    """Of an L-shaped object: locations around its mass, with distances to its box."""
    index, distances = assigned([[44, 44], [60, 60]], [[20, 20, 80, 80]], centers=[[38, 62]])
    assert index == [-1, -1]
    index, distances = assigned([[44, 60]], [[20, 20, 80, 80]], centers=[[38, 62]])
    assert (index, distances) == ([0], [[3.0, 5.0, 4.5, 2.5]])


def test_a_first_object_at_the_left_border_has_no_effect_on_others():
    """AdelaiDet gives such an image no targets."""
    boxes, centers = [[0, 0, 1, 16], [16, 16, 40, 40]], [[0, 8], [28, 28]]
    assert assigned([[28, 28]], boxes, centers)[0] == [1]


def test_slots_without_an_object_change_nothing():
    random = np.random.default_rng(0)
    points = random.uniform(0, 100, (50, 2))
    low = random.uniform(0, 60, (4, 2))
    boxes = np.concatenate([low, low + random.uniform(5, 40, (4, 2))], axis=1)
    filled = np.concatenate([boxes, [[0, 0, 0, 0], [0, 0, 100, 100], [np.nan] * 4]])
    assert assigned(points, boxes) == assigned(points, filled, valid=[True] * 4 + [False] * 3)
    index, distances = assigned(points, boxes, valid=[False] * 4)
    assert index == [-1] * 50 and not np.any(distances)


def by_loops(points, strides, ranges, boxes, centers, valid, radius):
    index, distances = np.full(len(points), -1), np.zeros((len(points), 4))
    for p, (x, y) in enumerate(points):
        smallest = np.inf
        for m, (x0, y0, x1, y1) in enumerate(boxes):
            reach, (cx, cy) = radius * strides[p], centers[m]
            sides = (x - x0, y - y0, x1 - x, y1 - y)
            near = abs(x - cx) < reach and abs(y - cy) < reach
            suits = ranges[p][0] <= max(sides) <= ranges[p][1]
            area = (x1 - x0) * (y1 - y0)
            if valid[m] and min(sides) > 0 and near and suits and area < smallest:
                smallest, index[p], distances[p] = area, m, np.array(sides) / strides[p]
    return index.tolist(), distances.tolist()


def test_assignment_is_that_of_loops():
    """Whole numbers, so that ties, borders and edges are met exactly."""
    random = np.random.default_rng(1)
    low = random.integers(0, 12, (12, 2)) * 8
    boxes = np.concatenate([low, low + random.integers(1, 24, (12, 2)) * 8], axis=1)
    centers = (boxes[:, :2] + boxes[:, 2:]) // 2 + random.integers(-2, 3, (12, 2)) * 8
    valid = random.random(12) < 0.8
    points, levels = random.integers(0, 24, (400, 2)) * 4, random.integers(0, 3, 400)
    strides = np.array([8, 16, 32])[levels]
    found = assigned(points, boxes, centers, levels, valid, strides=strides)
    expected = by_loops(points, strides, size_ranges((64, 128, 256))[levels], boxes, centers, valid, 1.5)
    assert len(set(expected[0])) >= 6
    assert found == expected


def test_mistakes_are_named():
    box = jnp.zeros((1, 4))
    arrays = [jnp.zeros((5, 2)), jnp.ones(5), jnp.ones((5, 2)), box, jnp.zeros((1, 2)), jnp.ones(1, bool)]
    for position, name in enumerate(('strides', 'ranges', 'boxes', 'centers', 'valid'), 1):
        wrong = [*arrays]
        wrong[position] = jnp.zeros((2, 7)) if name != 'boxes' else jnp.zeros((1, 5))
        with pytest.raises(ValueError, match=f'{name} must have the shape'):
            assign(*wrong)
    with pytest.raises(ValueError, match='boxes must have one slot at least'):
        assign(*arrays[:3], box[:0], jnp.zeros((0, 2)), jnp.ones(0, bool))
