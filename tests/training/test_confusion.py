"""The confusion matrix and its figures against loops and numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.training.confusion import confusion_matrix, intersection_over_union, mean_iou, pixel_accuracy

C = 5


def problem(shape=(8, 6, 7), seed=0):
    generator = np.random.default_rng(seed)
    label, predicted = (generator.integers(0, C - 1, shape).astype(np.int32) for _ in range(2))
    label[generator.random(shape) < 0.2] = 255
    return label, predicted, (label != 255) & (np.arange(shape[0]) < 6)[:, None, None]


def test_every_counted_pixel_is_in_one_entry():
    label, predicted, valid = problem()
    expected = np.zeros((C, C), int)
    np.add.at(expected, (label[valid], predicted[valid]), 1)
    found = confusion_matrix(jnp.asarray(label), jnp.asarray(predicted), jnp.asarray(valid), C)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, expected)
    assert expected[4].sum() == 0  # a class that is not there


def test_counts_are_the_same_on_any_number_of_devices():
    arrays = problem()
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    count = jax.jit(lambda *a: confusion_matrix(*a, C))
    spread = count(*jax.device_put(arrays, NamedSharding(mesh, P('data'))))
    np.testing.assert_array_equal(spread, count(*map(jnp.asarray, arrays)))


def test_figures_are_those_of_a_loop():
    label, predicted, valid = problem()
    confusion = np.asarray(confusion_matrix(jnp.asarray(label), jnp.asarray(predicted), jnp.asarray(valid), C))
    truth, guess = label[valid], predicted[valid]
    each = [np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c)) for c in range(C - 1)]
    np.testing.assert_allclose(intersection_over_union(confusion), [*each, np.nan], rtol=1e-12)
    assert mean_iou(confusion) == pytest.approx(np.mean(each), rel=1e-12)
    assert pixel_accuracy(confusion) == pytest.approx(np.mean(truth == guess), rel=1e-12)


def test_a_class_that_is_predicted_and_never_true_counts_with_zero():
    assert intersection_over_union([[3, 1], [0, 0]]).tolist() == [0.75, 0.0]
    assert mean_iou([[3, 1], [0, 0]]) == 0.375


def test_nothing_at_all():
    assert mean_iou(np.zeros((3, 3))) == pixel_accuracy(np.zeros((3, 3))) == 0.0
