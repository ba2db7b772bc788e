"""Images and their objects are changed together."""

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.augmentation.instance_composition import instance_transforms
from flax_dynconv.training.augmentation.instances import InstanceEvaluation, InstanceTraining, fitted_size
from flax_dynconv.training.data.instances import Bitmap, Instance, box_of
from flax_dynconv.training.kinds.instances import canvas_facts
from flax_dynconv.training.settings import Settings

FILL = (9, 8, 7)
DEFAULTS = {
    'canvas': (64, 96),
    'shorter_sides': (),
    'longest': 1000,
    'flip': 0.0,
    'color_jitter': 0.0,
    'interpolation': 'bilinear',
    'fill': FILL,
    'max_instances': 5,
}


def example(height=40, width=60):
    """Two white rectangles on black, which their masks cover exactly."""
    instances, pixels = [], np.zeros((height, width, 3), np.uint8)
    for label, (y0, y1, x0, x1) in enumerate([(4, 20, 8, 28), (24, 36, 40, 56)]):
        mask = np.zeros((height, width), bool)
        mask[y0:y1, x0:x1] = True
        pixels[mask] = 255
        instances.append(Instance(label, box_of(mask), Bitmap(mask), float(mask.sum())))
    return Image.fromarray(pixels), instances


def apply(seed=0, image=None, **changes):
    return InstanceTraining(**(DEFAULTS | changes))(*(image or example()), np.random.default_rng(seed))


@pytest.mark.parametrize('flip', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('shorter', [(), (20, 40, 60)])
def test_objects_follow_their_pixels(flip, shorter):
    """White is where the masks are, within the boxes, and its centre is theirs."""
    firsts, heights = set(), set()
    for seed in range(12):
        arrays = apply(seed, flip=flip, shorter_sides=shorter)
        height, width = arrays['size']
        white = arrays['image'][:, :, 0] > 127
        assert not white[height:].any() and not white[:, width:].any()
        covered = arrays['masks'].any(axis=0)
        assert (covered != white[2::4, 2::4]).mean() < 0.02
        for slot in range(2):
            x0, y0, x1, y1 = arrays['boxes'][slot].round().astype(int)
            assert white[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].all()
            np.testing.assert_allclose(arrays['centers'][slot], [(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2], atol=1)
        firsts.add(bool(arrays['boxes'][0, 0] > arrays['boxes'][1, 0]))
        heights.add(int(height))
    assert firsts == {0.0: {False}, 0.5: {False, True}, 1.0: {True}}[flip]
    assert heights == set(shorter or (40,))


def test_as_large_nothing_changes():
    arrays, (image, instances) = apply(), example()
    np.testing.assert_array_equal(arrays['image'][:40, :60], image)
    np.testing.assert_array_equal(arrays['boxes'][:2], [instance.box for instance in instances])
    flipped = apply(flip=1.0)
    np.testing.assert_array_equal(flipped['image'][:40, :60], np.asarray(image)[:, ::-1])
    for part in (arrays['image'][40:], arrays['image'][:, 60:], flipped['image'][:, 60:]):
        assert (part == np.array(FILL, np.uint8)).all()


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ((480, 640, 800, 1333, (1344, 1344)), (800, 1067)),
        ((480, 640, 800, 1333, (800, 1344)), (800, 1067)),
        ((640, 480, 800, 1333, (1344, 1344)), (1067, 800)),
        ((640, 480, 800, 1333, (800, 1344)), (800, 600)),
        ((100, 400, 800, 1333, (1344, 1344)), (333, 1333)),
        ((427, 640, 640, 1333, (1344, 1344)), (640, 959)),
        ((50, 70, None, 1333, (64, 96)), (50, 70)),
        ((100, 70, None, 1333, (64, 96)), (64, 45)),
        ((100, 700, None, 350, (64, 96)), (14, 96)),
        ((1, 3000, None, 1333, (64, 96)), (1, 96)),
    ],
)
def test_sizes_are_those_of_detectron2_and_fit_the_canvas(given, expected):
    assert fitted_size(*given) == expected


def test_an_evaluation_has_the_shorter_side_and_no_chance():
    place = {k: v for k, v in DEFAULTS.items() if k not in ('shorter_sides', 'flip', 'color_jitter')}
    arrays = InstanceEvaluation(shorter=20, **place)(*example())
    training = apply(shorter_sides=(20,))
    assert arrays.keys() == training.keys() and arrays['size'].tolist() == [20, 30]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, training[name], err_msg=name)


@pytest.mark.parametrize(('shorter', 'expected'), [((), 10), ((20,), 5), ((50,), 12), ((30,), 7)])
def test_rows_that_are_not_compared_are_scaled_with_the_image(shorter, expected):
    """AdelaiDet: int(10 * height / height of the file); of 40 rows here, and rounded down."""
    assert apply(shorter_sides=shorter)['bottom'] == 0
    found = apply(shorter_sides=shorter, bottom_rows=10, flip=1.0)['bottom']
    assert (found, found.dtype) == (expected, np.int32)


def test_colours_change_and_the_fill_does_not():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)), []
    arrays = apply(image=image, color_jitter=0.5)
    assert (arrays['image'][:40, :60] != np.asarray(image[0])).any()
    assert (arrays['image'][40:] == np.array(FILL, np.uint8)).all()


def test_settings_say_what_happens():
    settings = Settings(task='instances').updated(
        canvas=(64, 96), resize=48, shorter_sides=(40, 56), longer_side=90, flip=0.5, max_instances=7, bottom_rows=3
    )
    training, evaluation = instance_transforms(settings, canvas_facts(settings))
    assert (training.canvas, training.shorter_sides, training.longest) == ((64, 96), (40, 56), 90)
    assert (training.flip, training.max_instances, training.fill) == (0.5, 7, (124, 116, 104))
    assert (evaluation.shorter, evaluation.longest, evaluation.max_instances) == (48, 90, 7)
    assert training.bottom_rows == evaluation.bottom_rows == 3 and Settings().instances.bottom_rows == 10


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'canvas must be a height and a width that 32 divides, got \(64, 90\)'):
        InstanceTraining(**(DEFAULTS | {'canvas': (64, 90)}))
    with pytest.raises(ValueError, match=r"interpolation must be one of \('bilinear', 'bicubic'\), got 'nearest'"):
        InstanceTraining(**(DEFAULTS | {'interpolation': 'nearest'}))
    with pytest.raises(ValueError, match=r"image must have mode 'L' or 'RGB'"):
        apply(image=(Image.new('CMYK', (5, 5)), []))
