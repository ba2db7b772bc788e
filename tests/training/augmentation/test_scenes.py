"""Image, depth and mask are changed together."""

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.augmentation.scenes import SceneEvaluation, SceneTraining

DEFAULTS = {'size': 24, 'flip': 0.0, 'rotation': 0.0, 'color_jitter': 0.0}


def scene(height=24, width=24):
    """Red is 255 in a rectangle off the middle, which is the mask and is near; green says the column."""
    mask = np.zeros((height, width), bool)
    mask[height // 6 : height // 2, width // 8 : width // 2] = True
    columns = np.broadcast_to(np.arange(width), mask.shape)
    image = np.stack([255 * mask, columns, 0 * columns], axis=-1).astype(np.uint8)
    return Image.fromarray(image), Image.fromarray(mask.astype(np.float32)), mask


def apply(seed=0, given=None, **changes):
    arrays = SceneTraining(**(DEFAULTS | changes))(*(given or scene()), np.random.default_rng(seed))
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        'image': ((24, 24, 3), 'uint8'),
        'depth': ((24, 24, 1), 'float32'),
        'target': ((24, 24, 1), 'uint8'),
    }
    return arrays


def agreement(arrays):
    """Shares of pixels in which image and depth say what the target says."""
    red, depth, target = arrays['image'][..., 0] > 127, arrays['depth'][..., 0] > 0.5, arrays['target'][..., 0] > 0
    return (red == target).mean(), (depth == target).mean()


def test_nothing_asked_nothing_changed():
    image, depth, mask = scene()
    for arrays in (apply(), SceneEvaluation(24)(image, depth, mask)):
        np.testing.assert_array_equal(arrays['image'], image)
        np.testing.assert_array_equal(arrays['depth'][..., 0], depth)
        np.testing.assert_array_equal(arrays['target'][..., 0], mask)


def test_mirror_images():
    kept = mirrored = 0
    for seed in range(20):
        arrays = apply(seed, flip=0.5)
        assert agreement(arrays) == (1.0, 1.0)
        step = int(arrays['image'][0, 1, 1]) - int(arrays['image'][0, 0, 1])
        kept, mirrored = kept + (step == 1), mirrored + (step == -1)
    assert kept + mirrored == 20 and kept > 3 and mirrored > 3


def test_rotations_are_of_all_three_and_within_the_range():
    angles = []
    for seed in range(60):
        arrays = apply(seed, rotation=30.0)
        image, depth = agreement(arrays)
        assert image > 0.93 and depth > 0.93
        rows, columns = np.nonzero(arrays['target'][..., 0])
        # The rectangle's middle is above and left of the picture's.
        before = np.arctan2(7.5 - 11.5, 7 - 11.5)
        turn = np.degrees(before - np.arctan2(rows.mean() - 11.5, columns.mean() - 11.5))
        angles.append((turn + 180) % 360 - 180)
    assert -33 < min(angles) < -20 and 20 < max(angles) < 33
    assert set(np.unique(arrays['target'])) == {0, 1}


@pytest.mark.parametrize('mode', ['L', 'F'])
def test_other_sizes_become_the_square(mode):
    image, depth, mask = scene(36, 60)
    depth = depth if mode == 'F' else Image.fromarray(255 * mask.astype(np.uint8))
    for arrays in (apply(given=(image, depth, mask)), SceneEvaluation(24)(image, depth, mask)):
        assert min(agreement(arrays)) > 0.96
        assert arrays['depth'].min() >= 0 and arrays['depth'].max() <= 1


def test_colours_change_and_depth_does_not():
    image, depth, mask = scene()
    arrays = apply(color_jitter=0.5)
    assert (arrays['image'] != np.asarray(image)).any()
    np.testing.assert_array_equal(arrays['depth'][..., 0], depth)
    np.testing.assert_array_equal(arrays['target'][..., 0], mask)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'size must be a whole number of pixels >= 1, got 0'):
        SceneEvaluation(0)
    with pytest.raises(ValueError, match=r"image must have mode 'L' or 'RGB'"):
        apply(given=(Image.new('CMYK', (24, 24)), *scene()[1:]))
