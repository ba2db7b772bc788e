"""COCO's average precision and recall of boxes and masks, by pycocotools; on the host."""

import contextlib
import io

from flax_dynconv.training.extras import require

KINDS = ('bbox', 'segm')
# In the order of pycocotools.
FIGURES = (
    *('ap', 'ap50', 'ap75', 'ap_small', 'ap_medium', 'ap_large'),
    *('ar1', 'ar10', 'ar100', 'ar_small', 'ar_medium', 'ar_large'),
)


def average_precision(truth, results, kind='bbox', images=None):
    """COCO's figures of `results`, from 0 to 1, by the names in `FIGURES`.

    ap is the mean over overlaps 0.5, 0.55, .., 0.95, classes and recalls; ap50 and ap75 are at one overlap; ap_small,
    ap_medium, ap_large are of objects of less than 32^2 pixels, up to 96^2, and more; ar1, ar10 and ar100 are recalls
    with so many detections for each image, ar_small, .. with 100. What no object in `truth` has, an area for instance,
    has no figure; without results figures are 0.

    Args:
      truth: dict in the form of COCO's json: images, annotations and categories.
      results: list of dicts in the form of COCO's results: image_id, category_id, score, and bbox [x, y, width, height]
        or segmentation (compressed run lengths).
      kind: 'bbox' or 'segm', what is compared. The size of a detection is the area of the same: of boxes for 'bbox',
        of masks for 'segm' also where results have both, as in detectron2.
      images: ids of the images that count, all of `truth` if None.

    Nothing is printed, and neither argument is changed. Raises ValueError for another kind and for results of images or
    categories that `truth` has not, ImportError without pycocotools.

    >>> truth = {'images': [{'id': 1, 'height': 9, 'width': 9}], 'categories': [{'id': 3}]}
    >>> where = {'image_id': 1, 'category_id': 3}
    >>> truth['annotations'] = [where | {'id': 1, 'bbox': [0, 0, 4, 4], 'area': 16, 'iscrowd': 0}]
    >>> result = where | {'bbox': [0, 0, 4, 3], 'score': 0.5}
    >>> {name: round(value, 2) for name, value in average_precision(truth, [result]).items() if name < 'ap_'}
    {'ap': 0.6, 'ap50': 1.0, 'ap75': 1.0}

    Source: Lin et al., "Microsoft COCO" (ECCV 2014); pycocotools' `COCOeval`.
    """
    if kind not in KINDS:
        raise ValueError(f'kind must be one of {KINDS}, got {kind!r}')
    _check(truth, results)
    coco = require('pycocotools.coco', 'measures average precision')
    evaluation = require('pycocotools.cocoeval', 'measures average precision')
    with contextlib.redirect_stdout(io.StringIO()):
        expected = _index(coco, truth, truth['annotations'])
        found = [{name: value for name, value in each.items() if name in _entries(kind)} for each in results]
        # `loadRes` refuses an empty list.
        found = expected.loadRes(found) if found else _index(coco, truth, [])
        measure = evaluation.COCOeval(expected, found, kind)
        if images is not None:
            measure.params.imgIds = list(images)
        measure.evaluate()
        measure.accumulate()
        measure.summarize()
    return {name: float(value) for name, value in zip(FIGURES, measure.stats, strict=True) if value >= 0}


def _entries(kind):
    return ('image_id', 'category_id', 'score', 'bbox' if kind == 'bbox' else 'segmentation')


def _index(coco, truth, annotations):
    index = coco.COCO()
    # Copies of annotations, into which pycocotools writes.
    index.dataset = {**truth, 'annotations': [dict(each) for each in annotations]}
    index.createIndex()
    return index


def _check(truth, results):
    for name, among in (('image_id', 'images'), ('category_id', 'categories')):
        unknown = {each[name] for each in results} - {each['id'] for each in truth[among]}
        if unknown:
            raise ValueError(f'results: expected each {name} among the {among} of truth, got {sorted(unknown)[:5]}')
