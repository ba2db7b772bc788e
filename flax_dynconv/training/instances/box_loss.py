"""Losses of boxes that are given as distances from a common point to their four sides."""

import jax.numpy as jnp

from flax_dynconv.training.losses import wide

KINDS = ('iou', 'linear_iou', 'giou')


def distance_ious(pred, target):
    """IoU and generalised IoU of boxes around the same points, each (...), in float32 or wider.

    iou = (intersection + 1) / (union + 1);   giou = iou - (hull - union) / hull

    pred and target (..., 4) are distances >= 0 to the left, top, right and bottom side, in units of the level's stride,
    in which the 1s are meant too. Where both boxes are empty the hull is 0, and giou is iou.

    Raises ValueError for arrays of different shapes or whose last axis is not 4.

    >>> [v.tolist() for v in distance_ious(jnp.array([[1.0, 1, 1, 1]]), jnp.array([[1.0, 1, 1, 2]]))]
    [[0.7142857313156128], [0.7142857313156128]]

    Source: Tian et al., "FCOS" (ICCV 2019); Rezatofighi et al., "Generalized Intersection over Union" (CVPR 2019);
    equal to AdelaiDet's `compute_ious`, its 1s included.
    """
    if pred.shape != target.shape or pred.shape[-1:] != (4,):
        raise ValueError(f'pred and target must have the same shape (..., 4), got {pred.shape} and {target.shape}')
    pred, target = wide(pred), wide(target)
    area, wanted = _area(pred), _area(target)
    intersection, hull = _area(jnp.minimum(pred, target)), _area(jnp.maximum(pred, target))
    union = area + wanted - intersection
    iou = (intersection + 1) / (union + 1)
    empty = hull == 0
    return iou, iou - (hull - union) / jnp.where(empty, 1, hull)


def box_loss(pred, target, kind='giou'):
    """Of each pair of boxes (...): 1 - giou, or 1 - iou ('linear_iou'), or -log(iou) ('iou'); in float32 or wider.

    pred, target (..., 4) as for `distance_ious`. Sums, weights and their divisors are the caller's.

    Raises ValueError for another kind, and for shapes as `distance_ious` does.

    >>> boxes = jnp.array([[1.0, 1, 1, 1]])
    >>> box_loss(boxes, boxes).tolist(), round(float(box_loss(boxes, 2 * boxes, kind='linear_iou')[0]), 4)
    ([0.0], 0.7059)

    Source: AdelaiDet's `IOULoss`.
    """
    if kind not in KINDS:
        raise ValueError(f'kind must be one of {KINDS}, got {kind!r}')
    iou, giou = distance_ious(pred, target)
    if kind == 'iou':
        return -jnp.log(iou)
    return 1 - (giou if kind == 'giou' else iou)


def _area(distances):
    return (distances[..., 0] + distances[..., 2]) * (distances[..., 1] + distances[..., 3])
