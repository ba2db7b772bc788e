"""The losses of the masks of chosen locations, from masks or from boxes alone."""

import jax
import jax.numpy as jnp

from flax_dynconv.training.instances.boxinst import (
    COLOR_THRESHOLD,
    image_similarity,
    projection_loss,
    weighted_pairwise_loss,
)
from flax_dynconv.training.instances.dice import dice_loss
from flax_dynconv.training.losses import wide


def mask_loss(logits, masks, used):
    """The mean of `dice_loss` over the slots that are used, 0 if none is: a scalar, in float32 or wider.

    logits (B, K, H, W), masks (B, K, H, W) 0 or 1, used (B, K) bool. The mean is over the whole batch: an image has the
    weight of its locations.

    >>> round(float(mask_loss(jnp.zeros((1, 2, 1, 1)), jnp.ones((1, 2, 1, 1)), jnp.array([[True, False]]))), 4)
    0.2

    Source: Tian et al., "CondInst" (ECCV 2020), eq. 5, as in AdelaiDet's `DynamicMaskHead`.
    """
    return _mean(dice_loss(jax.nn.sigmoid(wide(logits)), masks), used)


def box_mask_losses(logits, masks, used, image, size, bottom=None, threshold=COLOR_THRESHOLD):
    """BoxInst's two losses, {'projection', 'pairwise'}: scalars in float32 or wider.

    logits and masks (B, K, H, W), these boxes drawn as masks, used (B, K) bool; image (B, s H, s W, 3) uint8 RGB, of
    which the upper left size (B, 2) pixels, height and width, are the image; `bottom` (B,) is how many of its last rows
    are not compared (BoxInst: 10 of an image of COCO before it is scaled), none if None. `projection` is the mean over
    the used slots, `pairwise` over the compared pairs of neighbours of the whole batch; both are 0 without any.

    >>> images, masks = jnp.zeros((1, 16, 16, 3), jnp.uint8), jnp.ones((1, 1, 4, 4))
    >>> losses = box_mask_losses(30 * masks, masks, jnp.array([[True]]), images, jnp.array([[16, 16]]))
    >>> {name: round(float(loss), 4) for name, loss in losses.items()}
    {'projection': 0.0, 'pairwise': 0.0}

    Source: Tian et al., "BoxInst" (CVPR 2021), as in AdelaiDet's `DynamicMaskHead`.
    """
    logits = wide(logits)
    masks = jnp.where(used[..., None, None], masks, 0)
    stride = image.shape[1] // masks.shape[2]
    similarity = image_similarity(image, _within(image.shape[1:3], size, bottom), stride)
    loss, pairs = weighted_pairwise_loss(logits, similarity, masks, threshold)
    projection = _mean(projection_loss(jax.nn.sigmoid(logits), masks), used)
    return {'projection': projection, 'pairwise': loss / jnp.maximum(pairs, 1)}


def box_masks(boxes, shape, stride=4):
    """Boxes (..., 4), x0, y0, x1, y1, drawn as masks and sampled: uint8 (..., H/stride, W/stride), `shape` = (H, W).

    Columns from floor(x0) to floor(x1), both included, rows likewise, at pixels [stride // 2 :: stride].

    >>> box_masks(jnp.array([0.0, 4.5, 6.0, 16.0]), (8, 12)).tolist()
    [[0, 0, 0], [1, 1, 0]]

    Source: AdelaiDet's `add_bitmasks_from_boxes`.
    """
    sides = jnp.floor(boxes)
    inside = []
    for axis, length in zip((1, 0), shape, strict=True):
        low, high = sides[..., axis, None], sides[..., axis + 2, None]
        pixels = jnp.broadcast_to(jnp.arange(stride // 2, length, stride), (*low.shape[:-1], -(-length // stride)))
        inside.append((pixels >= low) & (pixels <= high))
    rows, columns = inside
    return (rows[..., :, None] & columns[..., None, :]).astype(jnp.uint8)


def box_centers(boxes, shape):
    """Centres of mass (..., 2), x before y, of boxes (..., 4) that are drawn as masks of `shape` (H, W).

    >>> box_centers(jnp.array([0.0, 4.5, 6.0, 16.0]), (8, 12)).tolist()
    [3.0, 5.5]

    Source: AdelaiDet's `get_sample_region`, on what `add_bitmasks_from_boxes` makes.
    """
    last = jnp.array([shape[1] - 1, shape[0] - 1], boxes.dtype)
    low, high = jnp.floor(boxes[..., :2]), jnp.floor(boxes[..., 2:])
    return (jnp.maximum(low, 0) + jnp.minimum(high, jnp.broadcast_to(last, high.shape))) / 2


def _within(shape, size, bottom):
    """1 for the pixels (B, H, W) of each image that are compared."""
    rows, columns = (jnp.arange(length)[None, :] for length in shape)
    last = size[:, :1] if bottom is None else size[:, :1] - bottom[:, None]
    return ((rows < last)[:, :, None] & (columns < size[:, 1:])[:, None, :]).astype(jnp.float32)


def _mean(each, used):
    return jnp.sum(jnp.where(used, each, 0)) / jnp.maximum(jnp.sum(used.astype(each.dtype)), 1)
