"""Images and the classes of their pixels are changed together."""

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.augmentation.labelled import LabelledEvaluation, LabelledTraining, scaled_size

FILL, IGNORED = (9, 8, 7), 255
DEFAULTS = {
    'crop': (16, 24),
    'scale_range': (1.0, 1.0),
    'share': 1.0,
    'flip': 0.0,
    'color_jitter': 0.0,
    'resize': None,
    'interpolation': 'bilinear',
    'fill': FILL,
    'ignore_label': IGNORED,
}


def transform(**changes):
    return LabelledTraining(**(DEFAULTS | changes))


def example(height=40, width=50, classes=4, block=10):
    """Blocks of one class; red is ten times the class, green and blue say where a pixel is."""
    rows, columns = np.mgrid[:height, :width]
    labels = ((rows // block + columns // block) % classes).astype(np.int32)
    return Image.fromarray(np.stack([10 * labels, rows, columns], axis=-1).astype(np.uint8)), labels


def apply(seed=0, image=None, **changes):
    return transform(**changes)(*(image or example()), np.random.default_rng(seed))


@pytest.mark.parametrize('flip', [0.0, 0.5, 1.0])
def test_labels_follow_their_pixels(flip):
    for seed in range(10):
        pixels, labels = apply(seed, flip=flip)
        assert (pixels.shape, pixels.dtype.name) == ((16, 24, 3), 'uint8')
        assert (labels.shape, labels.dtype.name) == ((16, 24), 'int32')
        np.testing.assert_array_equal(pixels[..., 0], 10 * labels)
        steps = np.diff(pixels[..., 2].astype(int), axis=1)
        assert (steps == steps[0, 0]).all() and abs(steps[0, 0]) == 1
        if flip != 0.5:
            assert steps[0, 0] == (-1 if flip else 1)


@pytest.mark.parametrize('factor', [0.6, 1.7])
def test_labels_follow_scaled_pixels(factor):
    """But at the edges of blocks, where colours are mixed and labels are not."""
    for seed in range(5):
        pixels, labels = apply(seed, example(block=25), scale_range=(factor, factor))
        near = np.abs(pixels[..., 0] - 10.0 * labels) < 1
        assert near.mean() > 0.6
        assert set(np.unique(labels)) <= {0, 1, 2, 3}


def test_scales_are_from_the_range():
    image = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (100, 1, 3)))
    widths = []
    for seed in range(200):
        pixels, _ = transform(crop=(8, 8), scale_range=(0.5, 2.0))(
            image, np.zeros((100, 100), np.int32), np.random.default_rng(seed)
        )
        widths.append(7 / max(1e-6, float(pixels[0, -1, 0]) - float(pixels[0, 0, 0])))
    assert 0.4 < min(widths) < 0.75 and 1.5 < max(widths) < 2.5


def test_crops_are_everywhere():
    corners = {tuple(apply(seed)[0][0, 0, 1:]) for seed in range(300)}
    rows, columns = (np.array(axis) for axis in zip(*corners, strict=True))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 24, 0, 26)


def test_what_is_missing_is_filled_and_ignored():
    pixels, labels = apply(crop=(48, 60))
    np.testing.assert_array_equal(pixels[:40, :50], example()[0])
    np.testing.assert_array_equal(labels[:40, :50], example()[1])
    for part, filled in ((labels[40:], pixels[40:]), (labels[:, 50:], pixels[:, 50:])):
        assert (part == IGNORED).all()
        assert (filled == np.array(FILL, np.uint8)).all()


def test_crops_of_one_class_are_avoided():
    """A quarter of the picture has two classes; without the rule most crops have one."""
    labels = np.zeros((64, 64), np.int32)
    labels[40:, 40:] = 1
    labels[0] = IGNORED
    image = Image.new('RGB', (64, 64)), labels

    def shares(share):
        for seed in range(60):
            found = apply(seed, image, crop=(16, 16), share=share)[1]
            counts = np.unique(found[found != IGNORED], return_counts=True)[1]
            yield counts.max() / counts.sum()

    mixed = [np.mean([value < 0.75 for value in shares(share)]) for share in (1.0, 0.75)]
    assert mixed[0] < 0.25
    assert mixed[1] > 2 * mixed[0]


def test_the_shorter_side_first():
    assert scaled_size(375, 500, 256) == (256, 341)
    pixels, labels = apply(crop=(30, 30), resize=20)
    assert (labels[:20, :25] != IGNORED).all() and (labels[20:] == IGNORED).all() and (labels[:, 25:] == IGNORED).all()
    evaluation = LabelledEvaluation((20, 25), 20, 'bilinear', FILL, IGNORED)
    same, same_labels = evaluation(*example())
    np.testing.assert_array_equal(same, pixels[:20, :25])
    np.testing.assert_array_equal(same_labels, labels[:20, :25])


def test_an_evaluation_keeps_every_pixel_once():
    evaluation = LabelledEvaluation((44, 50), None, 'bilinear', FILL, IGNORED)
    pixels, labels = evaluation(*example())
    np.testing.assert_array_equal(pixels[:40], example()[0])
    np.testing.assert_array_equal(labels[:40], example()[1])
    assert (labels[40:] == IGNORED).all() and pixels.shape == (44, 50, 3)


def test_colours_change_and_labels_do_not():
    pixels, labels = apply(color_jitter=0.5, crop=(40, 50))
    np.testing.assert_array_equal(labels, example()[1])
    assert (pixels != np.asarray(example()[0])).any()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"interpolation must be one of \('bilinear', 'bicubic'\), got 'nearest'"):
        transform(interpolation='nearest')
    with pytest.raises(ValueError, match=r"image must have mode 'L' or 'RGB'"):
        apply(image=(Image.new('CMYK', (5, 5)), np.zeros((5, 5), np.int32)))
