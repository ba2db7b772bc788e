"""Objects of an image as arrays of fixed shapes: against loops over pixels."""

import numpy as np
import pytest

from flax_dynconv.training.data.coco.outlines import Polygons
from flax_dynconv.training.data.instance_arrays import blank_arrays, check_canvas, instance_arrays
from flax_dynconv.training.data.instances import Bitmap, Instance, box_of

CANVAS, SIZE, SLOTS = (64, 96), (50, 70), 6


def objects(count=4, size=SIZE, seed=0):
    """Overlapping rectangles with a corner cut off, of all sizes."""
    generator, made = np.random.default_rng(seed), []
    for number in range(count):
        mask = np.zeros(size, bool)
        y, x = generator.integers(0, size[0] - 12), generator.integers(0, size[1] - 12)
        mask[y : y + generator.integers(8, 40), x : x + generator.integers(8, 40)] = True
        mask[y : y + 3, x : x + 4] = False
        made.append(Instance(number % 3, box_of(mask), Bitmap(mask), float(mask.sum())))
    return made


def on_canvas(mask, flipped=False):
    whole = np.zeros(CANVAS, bool)
    whole[: SIZE[0], : SIZE[1]] = mask[:, ::-1] if flipped else mask
    return whole


@pytest.mark.parametrize('flipped', [False, True])
def test_entries_are_those_of_the_masks_on_the_canvas(flipped):
    instances = objects()
    arrays = instance_arrays(instances, SIZE, CANVAS, SLOTS, flipped)
    assert arrays['size'].tolist() == list(SIZE)
    assert arrays['valid'].tolist() == [True] * 4 + [False] * 2
    assert arrays['classes'].tolist() == [0, 1, 2, 0, 0, 0]
    for slot, instance in enumerate(instances):
        whole = on_canvas(instance.mask, flipped)
        assert tuple(arrays['boxes'][slot].tolist()) == box_of(whole)
        np.testing.assert_array_equal(arrays['masks'][slot], whole[2::4, 2::4])
        rows, columns = np.nonzero(whole)
        np.testing.assert_allclose(arrays['centers'][slot], [columns.mean(), rows.mean()], rtol=1e-6)
    for name in ('boxes', 'centers', 'masks'):
        assert not arrays[name][4:].any()


def test_classes_of_pixels_are_those_of_the_smallest_object():
    instances = objects(8)
    found = instance_arrays(instances, SIZE, CANVAS, SLOTS)['semantic']
    assert len(np.unique(found)) > 2
    for row in range(CANVAS[0] // 8):
        for column in range(CANVAS[1] // 8):
            over = [i for i in instances if on_canvas(i.mask)[8 * row + 4, 8 * column + 4]]
            expected = 1 + min(over, key=lambda i: i.mask.sum()).label if over else 0
            assert found[row, column] == expected


def test_of_objects_as_large_the_first_has_the_pixel():
    mask = np.ones(SIZE, bool)
    pair = [Instance(label, box_of(mask), Bitmap(mask), 1.0) for label in (2, 0)]
    assert set(np.unique(instance_arrays(pair, SIZE, CANVAS, SLOTS)['semantic'])) == {0, 3}


def test_shapes_and_dtypes_are_those_of_the_blank_example():
    blank = blank_arrays(CANVAS, SLOTS)
    kinds = {name: (array.shape, array.dtype.name) for name, array in blank.items()}
    assert kinds == {
        'image': ((64, 96, 3), 'uint8'),
        'size': ((2,), 'int32'),
        'bottom': ((), 'int32'),
        'boxes': ((6, 4), 'float32'),
        'classes': ((6,), 'int32'),
        'valid': ((6,), 'bool'),
        'centers': ((6, 2), 'float32'),
        'masks': ((6, 16, 24), 'uint8'),
        'semantic': ((8, 12), 'int32'),
    }
    others = {name: blank[name] for name in ('image', 'bottom')}
    for count in (0, 4, 9):
        arrays = instance_arrays(objects(count), SIZE, CANVAS, SLOTS)
        assert kinds == {name: (a.shape, a.dtype.name) for name, a in (others | arrays).items()}
        assert arrays['valid'].sum() == min(count, SLOTS)
    assert {name for name, array in blank.items() if array.any()} == {'size'}


def test_the_largest_are_kept_in_their_order():
    instances = objects(9)
    arrays, sizes = instance_arrays(instances, SIZE, CANVAS, 4), [i.mask.sum() for i in instances]
    largest = sorted(np.argsort(sizes)[-4:])
    assert largest != list(range(4))
    np.testing.assert_array_equal(arrays['boxes'], [instances[i].box for i in largest])
    assert arrays['classes'].tolist() == [instances[i].label for i in largest]


def test_crowds_and_what_scaling_leaves_nothing_of_are_left_out():
    mask = np.zeros((400, 400), bool)
    mask[3, 3] = True
    dot = Instance(1, (3.0, 3.0, 4.0, 4.0), Bitmap(mask), 1.0)
    crowd = Instance(0, (0.0, 0.0, 400.0, 400.0), Bitmap(~mask), 1.0, True)
    beyond = Instance(1, (-9.0, 0.0, -2.0, 5.0), Bitmap(~mask), 1.0)
    whole = Instance(2, (0.0, 0.0, 400.0, 400.0), Bitmap(~mask), 1.0)
    arrays = instance_arrays([dot, crowd, beyond, whole], (40, 40), CANVAS, SLOTS)
    assert arrays['valid'].tolist() == [True] + [False] * 5 and arrays['classes'][0] == 2
    assert arrays['boxes'][0].tolist() == [0, 0, 40, 40]
    assert not instance_arrays([], SIZE, CANVAS, SLOTS)['semantic'].any()


def test_boxes_are_scaled_and_cut_whatever_the_mask():
    """As detectron2 does: a box of the data need not be the mask's."""
    square = Polygons([[10, 10, 20, 10, 20, 20, 10, 20]], (100, 200))
    instance = Instance(0, (-4.0, 8.0, 30.5, 104.0), square, 100.0)
    arrays = instance_arrays([instance], (32, 90), CANVAS, SLOTS)
    np.testing.assert_allclose(arrays['boxes'][0], [0, 2.56, 13.725, 32], rtol=1e-6)
    flipped = instance_arrays([instance], (32, 90), CANVAS, SLOTS, flipped=True)
    np.testing.assert_allclose(flipped['boxes'][0], [90 - 13.725, 2.56, 90, 32], rtol=1e-6)
    np.testing.assert_allclose(flipped['centers'][0, 0], 89 - arrays['centers'][0, 0], rtol=1e-6)
    np.testing.assert_array_equal(flipped['centers'][0, 1], arrays['centers'][0, 1])


@pytest.mark.parametrize('canvas', [(64, 100), (0, 32), (32,)])
def test_a_canvas_is_of_multiples(canvas):
    with pytest.raises(ValueError, match=r'canvas must be a height and a width that 32 divides, got \('):
        check_canvas(canvas)
