"""From the maps of a CondInst to boxes with classes and scores, and the networks of their masks."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from flax_dynconv.models.condinst.boxes import boxes_at
from flax_dynconv.models.condinst.flatten import FlatMaps, flatten_maps
from flax_dynconv.models.condinst.maps import InstanceMaps
from flax_dynconv.models.condinst.nms import greedy_nms
from flax_dynconv.ops._checks import check_ints


class Detections(NamedTuple):
    """At most D objects of each of B images, from the best to the worst.

    Attributes:
      boxes: (B, D, 4) float32, x0, y0, x1, y1 in pixels, within the image.
      scores: (B, D) float32, sqrt(probability of the class * probability of being central).
      classes: (B, D) int32, from 0.
      valid: (B, D) bool; everything else of slots without an object means nothing.
      parameters, locations, scales: (B, D, G), (B, D, 2), (B, D): what `instance_masks` makes masks of.

    >>> Detections._fields[:4]
    ('boxes', 'scores', 'classes', 'valid')
    """

    boxes: jax.Array
    scores: jax.Array
    classes: jax.Array
    valid: jax.Array
    parameters: jax.Array
    locations: jax.Array
    scales: jax.Array


def detect(
    maps: InstanceMaps,
    image_sizes: jax.Array,
    *,
    strides: Sequence[int],
    sizes_of_interest: Sequence[int],
    score_threshold: float = 0.05,
    pre_nms: int = 1000,
    nms_threshold: float = 0.6,
    max_detections: int = 100,
) -> Detections:
    """The objects of each image: locations and classes of a probability, without those that better ones overlap.

    p = sigmoid(logits) * sigmoid(centerness) of each location and class;   score = sqrt(p)

    Of each level the `pre_nms` pairs of the largest p that are above `score_threshold` are candidates, all of them go
    through `greedy_nms`, class by class, and the best `max_detections` are left: exactly as many, where AdelaiDet keeps
    more if the last ones are equal. Boxes are then cut at the edges of the image; empty ones are not valid.

    Args:
      maps: of a CondInst, of any floating dtype; everything is computed in float32, or wider.
      image_sizes: (B, 2), height and width in pixels of the image within its canvas.
      strides, sizes_of_interest: one for each level.
      score_threshold: of p, not of its root.
      pre_nms, nms_threshold, max_detections: see above.

    Raises ValueError for sizes of another shape, levels that do not fit, and counts below 1.

    >>> maps = InstanceMaps(*([jnp.zeros((1, 2, 3, n))] for n in (5, 4, 1, 169)), jnp.zeros((1, 2, 3, 8)))
    >>> maps = maps._replace(boxes=[jnp.ones((1, 2, 3, 4))])
    >>> found = detect(maps, jnp.array([[16, 20]]), strides=(8,), sizes_of_interest=(64,), max_detections=40)
    >>> found.valid.sum().item(), found.boxes[0, 0].tolist(), found.scores[0, 0].item()
    (30, [0.0, 0.0, 12.0, 12.0], 0.5)

    Source: Tian et al., "FCOS" (ICCV 2019), as AdelaiDet's `FCOSOutputs` with `THRESH_WITH_CTR`, which CondInst sets.
    """
    check_ints(pre_nms=pre_nms, max_detections=max_detections)
    flat = flatten_maps(maps, strides, sizes_of_interest)
    batch, _, classes = flat.logits.shape
    if image_sizes.shape != (batch, 2):
        raise ValueError(f'image_sizes: expected the shape {(batch, 2)}, got {image_sizes.shape}')
    scores, pairs = _candidates(maps, flat, score_threshold, pre_nms)
    places = pairs // classes
    distances = _wide(jnp.take_along_axis(flat.boxes, places[..., None], axis=1))
    boxes = boxes_at(flat.locations[places], distances * flat.strides[places][..., None])

    def survivors(boxes, scores, classes):
        return greedy_nms(boxes, scores, classes, scores > 0, nms_threshold, max_detections)

    kept, valid = jax.vmap(survivors)(boxes, scores, pairs % classes)
    boxes, scores, pairs = (_of(array, kept) for array in (boxes, scores, pairs))
    height, width = image_sizes[:, None, :1], image_sizes[:, None, 1:]
    boxes = jnp.clip(boxes, 0, jnp.concatenate([width, height] * 2, axis=-1).astype(boxes.dtype))
    valid &= jnp.all(boxes[..., 2:] > boxes[..., :2], axis=-1)
    places = pairs // classes
    parameters = _of(flat.parameters, places)
    return Detections(
        boxes, jnp.sqrt(scores), pairs % classes, valid, parameters, flat.locations[places], flat.scales[places]
    )


def _candidates(maps: InstanceMaps, flat: FlatMaps, threshold, most):
    """Of all levels, p (B, K), 0 where there are no more, and location * classes + class (B, K) int32."""
    p = jax.nn.sigmoid(_wide(flat.logits)) * jax.nn.sigmoid(_wide(flat.centerness))[..., None]
    p, found, start = jnp.where(p > threshold, p, 0), [], 0
    for level in maps.logits:
        end = start + level.shape[1] * level.shape[2]
        found.append(_largest_pairs(p[:, start:end], start, most))
        start = end
    return (jnp.concatenate(each, axis=1) for each in zip(*found, strict=True))


def _largest_pairs(p, start, most):
    """The largest p (B, k) of a level (B, P, classes), of equal ones the first, and location * classes + class."""
    batch, locations, classes = p.shape
    # As many locations hold as many pairs at least, so that a location that is not among the best has none of the best.
    index = jax.lax.broadcasted_iota(jnp.int32, (batch, locations), 1)
    _, best = _largest(jnp.max(p, axis=-1), index, most)
    pairs = best[..., None] * classes + jnp.arange(classes)[None, None, :]
    p, pairs = _largest(_of(p, best).reshape(batch, -1), pairs.reshape(batch, -1), most)
    return p, pairs + start * classes


def _largest(values, index, most):
    # A sort and no `top_k`, for which devices would gather their images.
    values, index = jax.lax.sort((-values, index), dimension=1, num_keys=2)
    return -values[:, :most], index[:, :most]


def _of(array, index):
    return jnp.take_along_axis(array, index.reshape(*index.shape, *(1,) * (array.ndim - 2)), axis=1)


def _wide(array):
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
