"""Drawn shapes with masks: what is seen is what is told, test pictures never change."""

import numpy as np
import pytest
from pycocotools.coco import COCO

from flax_dynconv.training.data import run_lengths
from flax_dynconv.training.data.instance_shapes import (
    CLASSES,
    LEAST_PIXELS,
    LEAST_SHARE,
    InstanceShapes,
    _seen,
    draw_instances,
)
from flax_dynconv.training.data.instances import box_of

SOURCE = InstanceShapes(64, 100, 5)


@pytest.fixture(scope='module')
def drawn():
    return [draw_instances(np.random.default_rng(seed), 64) for seed in range(60)]


def test_boxes_and_areas_are_those_of_the_masks(drawn):
    for pixels, instances in drawn:
        assert (pixels.shape, pixels.dtype.name) == ((64, 64, 3), 'uint8')
        for instance in instances:
            assert (instance.mask.shape, instance.mask.dtype.name) == ((64, 64), 'bool')
            assert instance.area == instance.mask.sum() >= LEAST_PIXELS
            rows, columns = np.nonzero(instance.mask)
            assert instance.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert not instance.crowd


def test_every_pixel_is_of_one_shape_at_most(drawn):
    for _, instances in drawn:
        assert np.sum([instance.mask for instance in instances], axis=0).max() == 1


def test_there_are_all_classes_many_sizes_and_hidden_parts(drawn):
    labels = np.bincount([i.label for _, instances in drawn for i in instances], minlength=len(CLASSES))
    assert (labels > 0.15 * labels.sum()).all()
    sides = [max(i.box[2] - i.box[0], i.box[3] - i.box[1]) for _, instances in drawn for i in instances]
    assert min(sides) < 9 and max(sides) > 28
    counts = [len(instances) for _, instances in drawn]
    assert min(counts) >= 2 and max(counts) == 7
    touching = [
        any(_overlap(a.box, b.box) for n, a in enumerate(instances) for b in instances[:n]) for _, instances in drawn
    ]
    assert np.mean(touching) > 0.5


def _overlap(a, b):
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])


def test_a_mask_has_one_colour_and_what_is_in_none_is_ground(drawn):
    """Noise has a deviation of 8 levels, of which clipping takes some; a second colour would add far more."""
    for pixels, instances in drawn:
        for instance in instances:
            assert pixels[instance.mask].std(axis=0).max() < 14
        ground = pixels[~np.any([instance.mask for instance in instances], axis=0)]
        assert ground.std(axis=0).max() < 30


def test_a_nearly_hidden_shape_is_left_out_and_hides_nothing():
    """The middle one is hidden by the top one, and would hide the lowest."""
    lowest, middle, top = (np.zeros((20, 20), bool) for _ in range(3))
    lowest[:, :8] = middle[:, :10] = top[:, 2:] = True
    assert [None if mask is None else int(mask.sum()) for mask in _seen([middle, top])] == [None, 360]
    top[:, 2:5] = False
    # Of the middle one 5 of 10 columns are seen, of the lowest, below it, none.
    assert [None if mask is None else int(mask.sum()) for mask in _seen([lowest, middle, top])] == [None, 100, 300]
    top[:, 1:] = True
    seen = _seen([lowest, middle, top])
    assert [None if mask is None else int(mask.sum()) for mask in seen] == [None, None, 380]
    assert LEAST_SHARE * 200 > 20


def test_test_pictures_are_the_same_for_every_generator_and_others_than_in_training():
    test = {np.asarray(SOURCE.example('test', i, np.random.default_rng(i))[0]).tobytes() for i in range(5)}
    again = {np.asarray(SOURCE.example('test', i, None)[0]).tobytes() for i in range(5)}
    train = {np.asarray(SOURCE.example('train', 0, np.random.default_rng((0, 0, i)))[0]).tobytes() for i in range(5)}
    assert test == again and len(test) == len(train) == 5 and not test & train


def test_a_training_picture_is_a_function_of_its_generator():
    one, other = (SOURCE.example('train', i, np.random.default_rng(5)) for i in (0, 9))
    np.testing.assert_array_equal(one[0], other[0])
    for a, b in zip(one[1], other[1], strict=True):
        assert (a.label, a.box) == (b.label, b.box)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_the_truth_is_what_pycocotools_reads():
    coco = COCO()
    coco.dataset = SOURCE.truth('test')
    coco.createIndex()
    assert len(coco.imgs) == SOURCE.size('test') == 5
    assert [coco.cats[n]['name'] for n in SOURCE.category_ids] == list(CLASSES)
    assert min(coco.anns) == 1
    for index in range(5):
        found = coco.imgToAnns[SOURCE.image_id('test', index)]
        instances = SOURCE.example('test', index, None)[1]
        for annotation, instance in zip(found, instances, strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), instance.mask)
            np.testing.assert_array_equal(run_lengths.decode(annotation['segmentation']), instance.mask)
            assert annotation['category_id'] == instance.label + 1 and annotation['area'] == instance.area
            x, y, width, height = annotation['bbox']
            assert (x, y, x + width, y + height) == box_of(instance.mask)


def test_mistakes_are_named():
    assert SOURCE.dimensions('test') == {(64, 64)} and SOURCE.image_size('train', 3) == (64, 64)
    with pytest.raises(ValueError, match=r"split must be one of \['test', 'train'\], got 'val'"):
        SOURCE.size('val')
    with pytest.raises(ValueError, match=r"split must be 'test', .*, got 'train'"):
        SOURCE.truth('train')
