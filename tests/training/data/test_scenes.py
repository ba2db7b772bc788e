"""Drawn scenes: what reveals their objects, hollows that are none, and test scenes that never change."""

import numpy as np
import pytest

from flax_dynconv.training.data.other_depth import OtherDepth, with_depth_from
from flax_dynconv.training.data.scene_decoding import depth_array
from flax_dynconv.training.data.scenes import KINDS, Scenes, draw_scene

SOURCE = Scenes(48, 100, 40)


def drawn(seed, kind, size=48):
    return draw_scene(np.random.default_rng(seed), size, kind)


def test_shapes_and_dtypes():
    pixels, depth, mask = drawn(0, 'both')
    assert (pixels.shape, pixels.dtype.name) == ((48, 48, 3), 'uint8')
    assert (depth.shape, depth.dtype.name) == ((48, 48), 'float32')
    assert (mask.shape, mask.dtype.name) == ((48, 48), 'bool')
    assert depth.min() >= 0 and depth.max() <= 1


def contrasts(kind):
    """Of many scenes: how far the object is from the rest in colour, and how much nearer it is, by medians."""
    colour, depth = [], []
    for seed in range(80):
        pixels, found, mask = drawn(seed, kind)
        inside, outside = (np.median(pixels[area], axis=0) for area in (mask, ~mask))
        colour.append(np.linalg.norm(inside - outside))
        depth.append(np.median(found[mask]) - np.median(found[~mask]))
    return np.array(colour), np.array(depth)


@pytest.mark.parametrize('kind', KINDS)
def test_an_object_shows_in_what_its_kind_says(kind):
    colour, depth = contrasts(kind)
    if kind == 'depth':
        assert np.percentile(colour, 90) < 40
    else:
        assert np.percentile(colour, 10) > 60
    if kind == 'colour':
        assert np.abs(np.median(depth)) < 0.03 and np.percentile(depth, 90) < 0.12
    else:
        assert np.percentile(depth, 10) > 0.1


def test_hollows_show_as_objects_do_and_are_none():
    """Most scenes with a flat object have a hollow of another colour outside of it: colour alone takes it for one."""
    coloured = deep = 0
    for seed in range(60):
        pixels, depth, mask = drawn(seed, 'depth')
        ground = np.median(pixels[~mask], axis=0)
        far = np.linalg.norm(pixels - ground[None, None, :], axis=-1) > 80
        coloured += far[~mask].sum() > 20
        deep += (np.median(depth[~mask]) - depth[~mask] > 0.1).sum() > 60
    assert coloured > 45 and deep > 45


def test_objects_are_of_a_size():
    shares = [drawn(seed, kind)[2].mean() for seed in range(40) for kind in KINDS]
    assert min(shares) > 0.04 and max(shares) < 0.32 and 0.08 < np.mean(shares) < 0.2


def test_test_scenes_are_the_same_in_every_run_and_have_the_kinds_in_turn():
    for index in range(4):
        one, again = (SOURCE.example('test', index, g) for g in (None, np.random.default_rng(7)))
        for a, b in zip(one[:3], again[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        assert one[3] == f'drawn test scene {index} ({KINDS[index % 3]})'
    test = {np.asarray(SOURCE.example('test', i, None)[0]).tobytes() for i in range(40)}
    train = {np.asarray(SOURCE.example('train', 0, np.random.default_rng((0, 0, i)))[0]).tobytes() for i in range(40)}
    assert len(test) == len(train) == 40 and not test & train
    with pytest.raises(ValueError, match=r"split must be one of \['test', 'train'\], got 'val'"):
        SOURCE.size('val')


def test_the_depth_of_others_is_used_once_and_never_with_its_own_image():
    other = with_depth_from('other', SOURCE)
    own = [depth_array(SOURCE.example('test', i, None)[1]).tobytes() for i in range(40)]
    found = [other.example('test', i, None) for i in range(40)]
    exchanged = [depth_array(depth).tobytes() for _, depth, _, _ in found]
    assert sorted(own) == sorted(exchanged) and not any(a == b for a, b in zip(own, exchanged, strict=True))
    for index in (0, 39):
        image, _, mask, name = SOURCE.example('test', index, None)
        np.testing.assert_array_equal(found[index][0], image)
        np.testing.assert_array_equal(found[index][2], mask)
        assert found[index][3] == name
    one, two = (OtherDepth(SOURCE, 'other').example('train', 5, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(one[1], two[1])
    assert (depth_array(one[1]) != depth_array(SOURCE.example('train', 5, np.random.default_rng(2))[1])).any()


def test_flat_depth():
    flat = with_depth_from('flat', SOURCE)
    assert (flat.size('train'), flat.dimensions('test'), flat.name) == (100, {(48, 48)}, 'scenes with flat depth')
    assert (depth_array(flat.example('test', 1, None)[1]) == 0.5).all()
    assert with_depth_from('own', SOURCE) is SOURCE


def test_depth_that_cannot_be_exchanged():
    with pytest.raises(ValueError, match=r"depth_from 'other' needs at least two test images, got 1"):
        OtherDepth(Scenes(8, 4, 1), 'other')
    with pytest.raises(ValueError, match=r"depth_from must be 'own', 'other' or 'flat', got 'none'"):
        OtherDepth(SOURCE, 'none')
