"""Which class was taken for which, counted over pixels; and the figures that follow from it."""

import jax.numpy as jnp
import numpy as np
from jax import lax


def confusion_matrix(label, predicted, valid, num_classes):
    """Counts (C, C) int32: entry (t, p) is the number of valid pixels of class t that were taken for class p.

    label, predicted (N, H, W) integers, valid (N, H, W) bool. Counts are whole numbers: exact, and the same on any
    number of devices.

    >>> confusion_matrix(jnp.array([[[0, 1, 1]]]), jnp.array([[[0, 0, 1]]]), jnp.ones((1, 1, 3), bool), 2).tolist()
    [[1, 0], [1, 1]]
    """
    classes = jnp.arange(num_classes)[None, None, None, :]
    truth = ((label[..., None] == classes) & valid[..., None]).astype(jnp.int8)
    guess = (predicted[..., None] == classes).astype(jnp.int8)
    pixels = (0, 1, 2)
    return lax.dot_general(truth, guess, ((pixels, pixels), ((), ())), preferred_element_type=jnp.int32)


def intersection_over_union(confusion):
    """TP / (TP + FP + FN) of each class (C,) in float64; NaN for one that is neither in the truth nor predicted.

    >>> intersection_over_union([[1, 0, 0], [1, 1, 0], [0, 0, 0]]).tolist()
    [0.5, 0.5, nan]
    """
    confusion = np.asarray(confusion, np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    return np.divide(np.diag(confusion), union, out=np.full(len(union), np.nan), where=union > 0)


def mean_iou(confusion):
    """The mean of `intersection_over_union` over the classes that are in the truth or predicted; 0.0 without any.

    >>> mean_iou([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    0.5

    Source: mmsegmentation's `IoUMetric` (mIoU).
    """
    each = intersection_over_union(confusion)
    there = each[~np.isnan(each)]
    return float(there.mean()) if len(there) else 0.0


def pixel_accuracy(confusion):
    """The share of the counted pixels that have their class; 0.0 without any.

    >>> pixel_accuracy([[1, 0], [1, 2]])
    0.75
    """
    confusion = np.asarray(confusion, np.float64)
    return float(np.trace(confusion) / max(1.0, confusion.sum()))
