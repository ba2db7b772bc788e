"""Drawn shapes: every pixel has its class, test pictures never change."""

import numpy as np
import pytest

from flax_dynconv.training.data.shapes import CLASSES, Shapes, draw_shapes

SOURCE = Shapes(48, 100, 40)


def drawn(seed, size=48):
    return draw_shapes(np.random.default_rng(seed), size)


def test_pictures_and_labels_have_the_shapes_and_dtypes():
    pixels, labels = drawn(0)
    assert (pixels.shape, pixels.dtype.name) == ((48, 48, 3), 'uint8')
    assert (labels.shape, labels.dtype.name) == ((48, 48), 'int32')


def test_all_classes_occur_and_none_rules():
    labels = np.stack([drawn(seed)[1] for seed in range(200)])
    shares = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert len(shares) == len(CLASSES)
    assert 0.6 < shares[0] < 0.9
    assert (shares[1:] > 0.02).all()
    assert all((picture > 0).any() for picture in labels)


def test_shapes_stand_out_from_the_ground():
    """The mean colour of a shape of one colour is far from that of the ground."""
    for seed in range(60):
        pixels, labels = drawn(seed)
        kinds = set(np.unique(labels)) - {0}
        if len(kinds) == 1 and kinds <= {1, 2, 3}:
            inside, outside = (pixels[labels == c].mean(axis=0) for c in (kinds.pop(), 0))
            assert np.linalg.norm(inside - outside) > 30


def test_test_pictures_are_the_same_for_every_generator_and_others_than_in_training():
    first = SOURCE.example('test', 3, None)
    again = SOURCE.example('test', 3, np.random.default_rng(7))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    test = {np.asarray(SOURCE.example('test', i, None)[0]).tobytes() for i in range(40)}
    train = {np.asarray(SOURCE.example('train', 0, np.random.default_rng((0, 0, i)))[0]).tobytes() for i in range(40)}
    assert len(test) == len(train) == 40
    assert not test & train


def test_training_pictures_are_those_of_the_generator():
    one, other = (SOURCE.example('train', i, np.random.default_rng(5)) for i in (0, 9))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_splits_are_named():
    assert (SOURCE.size('train'), SOURCE.size('test')) == (100, 40)
    assert SOURCE.dimensions('test') == {(48, 48)}
    with pytest.raises(ValueError, match=r"split must be one of \['test', 'train'\], got 'val'"):
        SOURCE.size('val')
