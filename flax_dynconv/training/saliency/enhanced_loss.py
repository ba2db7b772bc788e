"""The hybrid enhanced loss: boundary, foreground and background of a mask, each with a mean of its own."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_dynconv.training.losses import wide

EPSILON = 1e-6
WINDOW = 5


def edges(mask):
    """True where the 5x5 window around a pixel, zeros outside of the image, has both values; bool (N, H, W, C).

    `mask` (N, H, W, C) is 0 or 1, of any dtype. A window without an edge sums to exactly 0 or 25: sums of whole numbers
    are exact in any order, which weights of 1/25 would not be. Foreground that touches the border of the image is
    an edge there, for the zeros outside; background is not.

    Raises ValueError for another number of axes.

    >>> edges(jnp.ones((1, 12, 12, 1))).sum().item()
    80

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020),
    eq. of L_e; which pixels are edges is as in lartpang/HDFNet's `HEL`, for binary masks.
    """
    if mask.ndim != 4:
        raise ValueError(f'mask must have the shape (N, H, W, C), got {mask.shape}')
    sums = mask.astype(jnp.float32)
    # Rows, then columns: 10 additions per pixel instead of 25.
    for window in ((1, WINDOW, 1, 1), (1, 1, WINDOW, 1)):
        padding = [(size // 2, size // 2) for size in window]
        sums = lax.reduce_window(sums, np.float32(0), lax.add, window, (1, 1, 1, 1), padding)
    return (sums != 0) & (sums != WINDOW**2)


def edge_loss(pred, mask, eps=EPSILON):
    """sum(e |p - g|) / (sum(e) + eps), e the `edges` of g: (N,), in float32 or wider.

    Arguments as `enhanced_loss`. 0 where a mask has no edge.

    >>> edge_loss(jnp.full((1, 12, 12, 1), 0.75), jnp.ones((1, 12, 12, 1))).round(4).tolist()
    [0.25]
    """
    pred, mask = _both(pred, mask)
    edge = edges(mask).astype(pred.dtype)
    return _share(edge * jnp.abs(pred - mask), edge, eps)


def region_loss(pred, mask, eps=EPSILON):
    """sum(g - g p) / (sum(g) + eps) + sum((1 - g) p) / (sum(1 - g) + eps): (N,), in float32 or wider.

    Arguments as `enhanced_loss`. Foreground and background weigh the same, whatever their areas.

    >>> region_loss(jnp.full((1, 2, 2, 1), 0.25), jnp.array([1, 0, 0, 0]).reshape(1, 2, 2, 1)).round(4).tolist()
    [1.0]
    """
    pred, mask = _both(pred, mask)
    return _share(mask - mask * pred, mask, eps) + _share((1 - mask) * pred, 1 - mask, eps)


def enhanced_loss(pred, mask, eps=EPSILON):
    """`edge_loss` + `region_loss` of each image: (N,), in float32 or wider.

    pred (N, H, W, C) probabilities of any floating dtype, mask (N, H, W, C) 0 or 1 of any dtype. Sums are over the
    pixels of an image and a channel, channels are averaged. Of an empty mask it is the mean of pred.

    Raises ValueError for arrays of different shapes or with another number of axes.

    >>> enhanced_loss(jnp.full((1, 8, 8, 1), 0.25), jnp.zeros((1, 8, 8, 1))).round(4).tolist()
    [0.25]

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); equal
    to lartpang/HDFNet's `HEL`, which is the mean of these values.
    """
    return edge_loss(pred, mask, eps) + region_loss(pred, mask, eps)


def _both(pred, mask):
    if pred.shape != mask.shape or pred.ndim != 4:
        raise ValueError(f'pred and mask must have the same shape (N, H, W, C), got {pred.shape} and {mask.shape}')
    pred = wide(pred)
    return pred, mask.astype(pred.dtype)


def _share(values, weights, eps):
    return jnp.mean(jnp.sum(values, axis=(1, 2)) / (jnp.sum(weights, axis=(1, 2)) + eps), axis=1)
