"""Average precision: by hand, and equal to pycocotools called directly."""

import copy
import json
import sys

import numpy as np
import pytest
from pycocotools import coco, cocoeval
from pycocotools import mask as mask_tools

from flax_dynconv.training.instances.average_precision import FIGURES, average_precision

SIDE = 128


def run_lengths(mask):
    found = mask_tools.encode(np.asfortranarray(mask, np.uint8))
    return {'size': list(found['size']), 'counts': found['counts'].decode()}


def rectangle(x, y, width, height):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def entry(image, category, box, mask=None, **others):
    mask = rectangle(*box) if mask is None else mask
    return {
        'image_id': image,
        'category_id': category,
        'bbox': [float(side) for side in box],
        'segmentation': run_lengths(mask),
        **others,
    }


def truth(*annotations, images=(1, 2)):
    annotations = [
        {'iscrowd': 0, **each, 'id': i, 'area': each['bbox'][2] * each['bbox'][3]}
        for i, each in enumerate(annotations, 1)
    ]
    return {
        'images': [{'id': image, 'height': SIDE, 'width': SIDE} for image in images],
        'categories': [{'id': category, 'name': str(category)} for category in (3, 7)],
        'annotations': annotations,
    }


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_figures_by_hand(kind):
    """Two objects of a class: one found with overlap 0.75, better than a false one, which is better than the other."""
    expected = truth(entry(1, 3, (0, 0, 20, 20)), entry(2, 3, (40, 40, 20, 20)))
    results = [
        entry(1, 3, (0, 0, 20, 15), score=0.9),
        entry(1, 3, (90, 90, 20, 20), score=0.8),
        entry(2, 3, (40, 40, 20, 20), score=0.7),
    ]
    found = average_precision(expected, results, kind)
    # At overlaps up to 0.75 recall is 1/2 with precision 1 (51 of 101 points) and 1 with 2/3 (the other 50). Beyond,
    # the first is false: recall is 1/2, with precision 1/3.
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 3 / 101
    assert found['ap50'] == pytest.approx(low) and found['ap75'] == pytest.approx(low)
    assert found['ap'] == pytest.approx((6 * low + 4 * high) / 10) == pytest.approx(found['ap_small'])
    # One detection for each image leaves the false one out.
    assert found['ar1'] == found['ar100'] == found['ar_small'] == pytest.approx((6 + 4 / 2) / 10)
    assert set(found) == {'ap', 'ap50', 'ap75', 'ap_small', 'ar1', 'ar10', 'ar100', 'ar_small'}


def drawn():
    """Objects of three sizes, a crowd, and results that are near them, elsewhere, of the wrong class or doubled."""
    random = np.random.default_rng(0)
    objects, results = [], []
    for image in range(1, 7):
        for _ in range(4):
            side = random.choice([12, 40, 100], size=2)
            x, y = (int(random.integers(0, SIDE - s)) for s in side)
            category = int(random.choice([3, 7]))
            objects.append(entry(image, category, (x, y, *map(int, side)), iscrowd=int(random.random() < 0.1)))
            for _ in range(random.integers(0, 3)):
                shift = random.integers(-4, 5, 4)
                box = np.clip(np.array([x, y, *side]) + shift, [0, 0, 6, 6], [SIDE - 8, SIDE - 8, SIDE, SIDE]).tolist()
                mask = rectangle(*box) & (random.random((SIDE, SIDE)) < 0.95)
                wrong = random.random() < 0.15
                results.append(entry(image, 10 - category if wrong else category, box, mask, score=random.random()))
    return truth(*objects, images=range(1, 7)), results


def directly(expected, results, kind, images, capsys):
    """pycocotools' twelve figures; of results with the entries of one kind only, as sizes are of boxes otherwise."""
    index = coco.COCO()
    index.dataset = copy.deepcopy(expected)
    index.createIndex()
    other = 'segmentation' if kind == 'bbox' else 'bbox'
    found = index.loadRes([{k: v for k, v in copy.deepcopy(each).items() if k != other} for each in results])
    measure = cocoeval.COCOeval(index, found, kind)
    if images:
        measure.params.imgIds = images
    measure.evaluate()
    measure.accumulate()
    measure.summarize()
    capsys.readouterr()
    return dict(zip(FIGURES, measure.stats.tolist(), strict=True))


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('images', [None, [2, 3, 5]])
def test_figures_are_pycocotools(kind, images, capsys):
    expected, results = drawn()
    before = json.dumps([expected, results])
    found = average_precision(expected, results, kind, images)
    assert capsys.readouterr() == ('', '') and sys.stdout is not None
    assert json.dumps([expected, results]) == before
    assert found == directly(expected, results, kind, images, capsys)
    assert len(set(found.values())) > 8 and 0.2 < found['ap'] < 0.9


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_nothing_found_and_nothing_to_find(kind):
    expected, _ = drawn()
    assert set(average_precision(expected, [], kind).values()) == {0.0}
    assert average_precision(truth(), [], kind) == {}


def test_mistakes_are_named():
    expected, results = drawn()
    with pytest.raises(ValueError, match=r"kind must be one of \('bbox', 'segm'\), got 'keypoints'"):
        average_precision(expected, results, 'keypoints')
    with pytest.raises(ValueError, match=r'each image_id among the images of truth, got \[99\]'):
        average_precision(expected, [results[0] | {'image_id': 99}])
    with pytest.raises(ValueError, match=r'each category_id among the categories of truth, got \[4\]'):
        average_precision(expected, [results[0] | {'category_id': 4}])
