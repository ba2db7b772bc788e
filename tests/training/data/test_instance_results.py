"""Detections on a canvas, in the original image: against loops, and PyTorch's interpolation."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from flax_dynconv.training.augmentation.instances import InstanceEvaluation
from flax_dynconv.training.data.instance_results import original_boxes, original_masks, results_of_image
from flax_dynconv.training.data.instance_shapes import InstanceShapes

# Logits, size of the image on the canvas, and of the original: smaller, larger, the same, and odd.
CASES = {
    'enlarged': ((8, 16), (27, 60), (54, 121)),
    'made smaller': ((8, 16), (32, 41), (13, 17)),
    'as large': ((8, 8), (32, 32), (32, 32)),
    'another ratio': ((16, 8), (50, 30), (31, 77)),
    'one pixel': ((8, 8), (1, 1), (3, 2)),
}


def sampled(x, points):
    """Linear between elements along the first axis, one point at a time."""
    rows = []
    for point in points:
        low = min(int(point), len(x) - 1)
        share = point - low
        rows.append((1 - share) * x[low] + share * x[min(low + 1, len(x) - 1)])
    return np.stack(rows)


def by_loops(logits, size, original):
    x = 1 / (1 + np.exp(-logits.astype(np.float64)))
    for _ in range(2):
        x = sampled(x, [max(o - 2, 0) / 4 for o in range(4 * len(x))]).T
    x = x[: size[0], : size[1]]
    for new in original:
        x = sampled(x, [max((o + 0.5) * len(x) / new - 0.5, 0) for o in range(new)]).T
    return x


def smooth(shape, seed):
    """Logits with regions of both signs, and some that are 0."""
    generator = np.random.default_rng(seed)
    return np.round(3 * generator.normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize('case', CASES)
def test_masks_are_those_of_loops(case):
    shape, size, original = CASES[case]
    logits = smooth((6, *shape), len(case))
    logits[4:, :, shape[1] // 2 :] = logits[5:, : shape[0] // 2] = -2  # with parts that are skipped
    seen = 0
    for mask, each in zip(original_masks(logits, size, original), logits, strict=True):
        expected = by_loops(each, size, original)
        assert (mask.shape, mask.dtype.name) == (original, 'bool')
        sure = np.abs(expected - 0.5) > 1e-6
        np.testing.assert_array_equal(mask[sure], (expected > 0.5)[sure])
        seen += sure.mean()
    assert seen / len(logits) > 0.9


@pytest.mark.parametrize('case', CASES)
def test_masks_are_those_of_the_published_procedure(case):
    torch = pytest.importorskip('torch')
    shape, size, original = CASES[case]
    logits = smooth((4, *shape), 1 + len(case))
    x = torch.tensor(logits)[None].sigmoid()
    x = torch.nn.functional.pad(x, (0, 1, 0, 1), mode='replicate')
    x = torch.nn.functional.interpolate(x, size=[4 * s + 1 for s in shape], mode='bilinear', align_corners=True)
    x = torch.nn.functional.pad(x, (2, 0, 2, 0), mode='replicate')[..., : 4 * shape[0], : 4 * shape[1]]
    x = torch.nn.functional.interpolate(x[..., : size[0], : size[1]], size=original, mode='bilinear')[0].numpy()
    found = np.stack(list(original_masks(logits, size, original)))
    sure = np.abs(x - 0.5) > 1e-6
    np.testing.assert_array_equal(found[sure], (x > 0.5)[sure])
    assert 0.05 < found.mean() < 0.95 or case == 'one pixel'


def test_half_is_not_above_half():
    """Of the probabilities 1/2 and 0.75, and of 0.25 and 0.75, which are 1/2 half-way, exactly."""
    logits = np.array([[0.0, 0.0, np.log(3), 0.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    found = next(original_masks(logits[None], (8, 16), (8, 16)))
    # The element 2 is at pixels 2 + 4 * 2, its neighbours at 6 and 14, above it pixel 2, below it 6.
    expected = np.zeros((8, 16), bool)
    expected[:6, 7:14] = True
    np.testing.assert_array_equal(found, expected)
    assert not next(original_masks(np.zeros((1, 2, 4)), (8, 16), (8, 16))).any()
    # expit(-log 3) + expit(log 3) is 1 in float32: half-way is 1/2 and not above it.
    logits = np.array([[[-np.log(3), np.log(3)]]], np.float32)
    np.testing.assert_array_equal(next(original_masks(logits, (1, 8), (1, 8))), [[0, 0, 0, 0, 0, 1, 1, 1]])


def test_boxes_are_scaled_and_cut():
    boxes = [[10.0, 20.0, 30.0, 60.0], [-5.0, -5.0, 500.0, 500.0]]
    found = original_boxes(np.array(boxes), (100, 50), (50, 200))
    np.testing.assert_array_equal(found, [[40, 10, 120, 30], [0, 0, 200, 50]])


def test_results_are_of_valid_detections_with_a_box():
    boxes = np.array([[1, 1, 9, 9], [20, 20, 20, 30], [1, 2, 3, 4], [40, 40, 50, 50]], np.float32)
    scores, classes = np.array([0.5, 0.6, 0.7, 0.8], np.float32), np.array([0, 1, 1, 0])
    valid = np.array([True, True, False, True])
    masks = smooth((4, 8, 8), 0)
    size, original = (24, 32), (12, 16)
    results = results_of_image(
        boxes, scores, classes, valid, masks, size=size, original=original, image_id=42, category_ids=(3, 90)
    )
    # The second has no width, the third is not valid, the fourth is beyond the image.
    (only,) = json.loads(json.dumps(results))
    assert (only['image_id'], only['category_id'], only['bbox'], only['score']) == (42, 3, [0.5, 0.5, 4.0, 4.0], 0.5)
    assert only['segmentation']['size'] == [12, 16] and isinstance(only['segmentation']['counts'], str)
    expected = next(original_masks(masks, size, original))
    np.testing.assert_array_equal(coco_mask.decode(only['segmentation']), expected)
    assert expected.any()


def test_an_image_without_detections_has_no_results():
    nothing = [np.zeros(shape) for shape in ((0, 4), (0,), (0,), (0,), (0, 8, 8))]
    assert results_of_image(*nothing, size=(32, 32), original=(5, 5), image_id=1, category_ids=(1,)) == []


def test_a_size_beyond_the_canvas_is_refused():
    with pytest.raises(ValueError, match=r'size must be within the canvas, from 1 to 32, got 33'):
        next(original_masks(np.ones((1, 8, 8)), (33, 32), (10, 10)))


def test_what_is_seen_on_the_canvas_is_found_in_the_original():
    """On a canvas four times as large each element of a mask is one pixel of the original: nothing may be lost."""
    source = InstanceShapes(64, 0, 6)
    transform = InstanceEvaluation((288, 256), 256, 999, interpolation='bilinear', fill=(0, 0, 0), max_instances=8)
    results = []
    for index in range(source.size('test')):
        image, instances, _ = source.example('test', index, None)
        arrays = transform(image, instances)
        results += results_of_image(
            arrays['boxes'],
            np.ones(8),
            arrays['classes'],
            arrays['valid'],
            20.0 * arrays['masks'] - 10,
            size=tuple(arrays['size'].tolist()),
            original=source.image_size('test', index),
            image_id=source.image_id('test', index),
            category_ids=source.category_ids,
        )
    truth = source.truth('test')['annotations']
    assert len(results) == len(truth) > 15
    for found, expected in zip(results, truth, strict=True):
        assert found == {name: expected.get(name, 1.0) for name in found}
