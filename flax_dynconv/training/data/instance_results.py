"""Detections on a canvas as COCO's results of the original image: boxes, scores and masks as run lengths."""

import numpy as np
from scipy.special import expit

from flax_dynconv.training.data import run_lengths
from flax_dynconv.training.data.instance_arrays import MASK_STRIDE


def results_of_image(boxes, scores, classes, valid, masks, *, size, original, image_id, category_ids):
    """COCO's results of one image: a list of dicts, one for each detection that is valid and whose box has an area.

    `boxes` (D, 4) floats, x0, y0, x1, y1 in pixels of the canvas, `scores` (D,), `classes` (D,) from 0, `valid` (D,)
    bool, `masks` (D, H/4, W/4) logits, all of numpy; `size` (height, width) of the image on the canvas and `original`
    in the file; `category_ids` of the classes. A dict has image_id, category_id, bbox [x, y, width, height] in pixels
    of the original image, cut at its edge, score, and segmentation, the run lengths of its mask: see `original_masks`.

    Only one mask at a time is as large as the image. Raises ValueError for a size that is not within the canvas.

    >>> detection = np.array([[2.0, 2.0, 10.0, 6.0]]), np.array([0.75]), np.array([1]), np.array([True])
    >>> results = results_of_image(
    ...     *detection, np.ones((1, 2, 4)), size=(8, 16), original=(4, 8), image_id=7, category_ids=(1, 5)
    ... )
    >>> results[0]['category_id'], results[0]['bbox'], results[0]['segmentation']
    (5, [1.0, 1.0, 4.0, 2.0], {'size': [4, 8], 'counts': '0P1'})

    Source: AdelaiDet's and detectron2's post-processing, and detectron2's `instances_to_coco_json`.
    """
    boxes = original_boxes(boxes, size, original)
    kept = np.asarray(valid, bool) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    chosen = np.flatnonzero(kept)
    results = []
    for row, mask in zip(chosen.tolist(), original_masks(masks, size, original, chosen), strict=True):
        x0, y0, x1, y1 = boxes[row].tolist()
        results.append(
            {
                'image_id': image_id,
                'category_id': int(category_ids[int(classes[row])]),
                'bbox': [x0, y0, x1 - x0, y1 - y0],
                'score': float(scores[row]),
                'segmentation': run_lengths.encode(mask),
            }
        )
    return results


def original_boxes(boxes, size, original):
    """`boxes` (D, 4) of an image that was scaled to `size` (height, width), in the `original` image, cut at its edge.

    >>> original_boxes(np.array([[2.0, 2.0, 10.0, 90.0]]), (8, 16), (4, 8)).tolist()
    [[1.0, 1.0, 5.0, 4.0]]
    """
    (height, width), (down, across) = original, (new / old for new, old in zip(original, size, strict=True))
    scaled = np.asarray(boxes, np.float64) * np.array([[across, down, across, down]])
    return np.clip(scaled, 0, np.array([[width, height, width, height]]))


def original_masks(logits, size, original, rows=None):
    """A generator of masks (height, width) bool of the `original` image, of `rows` (None: all) of `logits`.

    `logits` (D, H/4, W/4) become probabilities, the canvas (`aligned_bilinear` by 4), the part of it that is the image,
    `size` (height, width), the original image (bilinear, half pixels), and what is above 1/2. The three linear steps
    are one product with a matrix from each side, for the part of the mask that can be above 1/2.

    >>> [mask.any().item() for mask in original_masks(np.array([[[-1.0]], [[1.0]]]), (4, 4), (9, 9))]
    [False, True]
    """
    logits = np.asarray(logits)
    matrices = [_matrix(*lengths) for lengths in zip(logits.shape[1:], size, original, strict=True)]
    for row in range(len(logits)) if rows is None else rows:
        mask = np.zeros(original, bool)
        above = logits[row] > 0
        if above.any():
            # All others are mixed from probabilities of which none is above 1/2.
            parts = [_part(matrix, above.any(axis=1 - axis)) for axis, matrix in enumerate(matrices)]
            (down, taps_down), (across, taps_across) = parts
            probabilities = expit(logits[row, taps_down, taps_across].astype(np.float32))
            mixed = matrices[0][down, taps_down] @ probabilities @ matrices[1][across, taps_across].T
            mask[down, across] = mixed > 0.5
        yield mask


def _matrix(length, kept, wanted):
    """(wanted, length): enlarged by 4, of that the first `kept`, and of these `wanted`."""
    if not 0 < kept <= MASK_STRIDE * length:
        raise ValueError(f'size must be within the canvas, from 1 to {MASK_STRIDE * length}, got {kept}')
    enlarged = _between(np.maximum(np.arange(kept) - MASK_STRIDE // 2, 0) / MASK_STRIDE, length)
    low, share = _places(np.maximum((np.arange(wanted) + 0.5) * kept / wanted - 0.5, 0), kept)
    share = share[:, None]
    return ((1 - share) * enlarged[low] + share * enlarged[np.minimum(low + 1, kept - 1)]).astype(np.float32)


def _between(points, length):
    low, share = _places(points, length)
    matrix, rows = np.zeros((len(points), length)), np.arange(len(points))
    matrix[rows, low] = 1 - share
    matrix[rows, np.minimum(low + 1, length - 1)] += share
    return matrix


def _places(points, length):
    """The element before each point, and how far on it is to the next."""
    low = np.minimum(np.floor(points).astype(int), length - 1)
    return low, points - low


def _part(matrix, above):
    """Slices: outputs that some element `above` has a part in, and all elements that have a part in these."""
    outputs = _span(matrix[:, above].any(axis=1))
    return outputs, _span(matrix[outputs].any(axis=0))


def _span(found):
    places = np.flatnonzero(found)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)
