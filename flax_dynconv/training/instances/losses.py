"""All that an instance network minimises: of classes, boxes and centerness, and of the masks of chosen locations."""

import jax
import jax.numpy as jnp

from flax_dynconv.models.condinst.flatten import flatten_maps
from flax_dynconv.models.condinst.masks import instance_masks
from flax_dynconv.training.instances.assignment import RADIUS
from flax_dynconv.training.instances.box_loss import box_loss
from flax_dynconv.training.instances.centerness import centerness_loss, centerness_targets
from flax_dynconv.training.instances.focal_loss import focal_loss
from flax_dynconv.training.instances.mask_losses import box_centers, box_mask_losses, box_masks, mask_loss
from flax_dynconv.training.instances.positives import best_positives, random_positives
from flax_dynconv.training.instances.targets import batch_targets
from flax_dynconv.training.losses import wide

MASK_LOSSES = ('dice', 'boxinst')
MAX_POSITIVES = 64
# Of the sum of centerness targets that boxes are divided by.
LEAST_CENTERNESS = 1e-6


def instance_losses(
    maps,
    batch,
    *,
    strides,
    sizes_of_interest,
    channels,
    max_positives=MAX_POSITIVES,
    masks='dice',
    key=None,
    radius=RADIUS,
    pairwise_weight=1.0,
    relative_coordinates=True,
    chunk=None,
    precision=None,
    implementation=None,
):
    """CondInst's losses of a batch: a dict of scalars in float32 or wider, whose sum is minimised.

    | entry | what it is | divided by |
    |---|---|---|
    | classification | sum of `focal_loss` over locations and classes | locations with an object |
    | box | sum of c * `box_loss`, c the centerness target | the sum of c |
    | centerness | sum of `centerness_loss` over locations with an object | their number |
    | mask | `mask_loss` of the chosen locations | their number |
    | projection, pairwise | `box_mask_losses`, in the place of mask for `masks='boxinst'` | |
    | semantic | sum of `focal_loss` over pixels and classes, where maps have them | pixels with a class |

    All sums and divisors are over the whole batch, on however many devices, and divisors are at least 1 (that of boxes
    1e-6): a batch without any object has losses of 0 but for the classes, and finite gradients.

    Args:
      maps: `models.condinst.InstanceMaps`, of any floating dtype.
      batch: boxes (B, M, 4), classes (B, M), valid (B, M); centers (B, M, 2) and masks (B, M, H/4, W/4) 0 or 1 for
        'dice'; image (B, H, W, 3) uint8, size (B, 2) and, if it is there, bottom (B,) for 'boxinst' (see
        `box_mask_losses`); semantic (B, H/8, W/8), 0 or 1 + class, where the maps have such; mask (B,), if it is there,
        is 0 for rows that count nowhere.
      strides, sizes_of_interest: one for each level, as in the network.
      channels: of the layers of a mask network, the network's `layer_channels`.
      max_positives: K, the locations of each image whose masks are computed, see `best_positives`. Memory is that of
        K masks of an image, however many objects and locations there are.
      masks: 'dice' learns from masks, 'boxinst' from boxes and colours.
      key: for `random_positives`; None takes `best_positives`, by the best class's probability times that of
        centerness.
      radius: of centre sampling, in strides, see `assign`.
      pairwise_weight: of the pairwise loss, which BoxInst raises from 0 to 1 in the first 10000 steps; may be traced.
      relative_coordinates, chunk, precision, implementation: see `instance_masks`.

    Raises:
      ValueError: for another `masks`, entries of the batch that are missing or of another size, and shapes that do not
        fit.

    >>> from flax_dynconv.models.condinst.maps import InstanceMaps
    >>> maps = InstanceMaps(*([jnp.zeros((1, 4, 4, n))] for n in (3, 4, 1, 169)), jnp.zeros((1, 4, 4, 8)))
    >>> batch = {'boxes': jnp.array([[[0.0, 0, 16, 16]]]), 'classes': jnp.array([[2]]), 'valid': jnp.array([[True]])}
    >>> batch |= {'centers': jnp.full((1, 1, 2), 7.5), 'masks': jnp.zeros((1, 1, 8, 8)).at[..., :4, :4].set(1)}
    >>> losses = instance_losses(maps, batch, strides=(8,), sizes_of_interest=(64,), channels=(10, 8, 8, 1))
    >>> {name: round(float(loss), 3) for name, loss in losses.items()}
    {'classification': 1.473, 'box': 0.8, 'centerness': 0.693, 'mask': 0.5}

    Source: Tian et al., "CondInst" (ECCV 2020) and "BoxInst" (CVPR 2021), as in AdelaiDet, whose divisors are means
    over processes.
    """
    if masks not in MASK_LOSSES:
        raise ValueError(f'masks must be one of {MASK_LOSSES}, got {masks!r}')
    _check(maps, batch, masks)
    flat = flatten_maps(maps, strides, sizes_of_interest)
    shape = [side * strides[0] for side in maps.mask_features.shape[1:3]]
    real = batch['mask'] > 0 if 'mask' in batch else jnp.ones(len(flat.logits), bool)
    boxes, valid = batch['boxes'], batch['valid'] & real[:, None]
    centers = batch['centers'] if masks == 'dice' else box_centers(boxes, shape)
    targets = batch_targets(flat, sizes_of_interest, boxes, batch['classes'], centers, valid, radius)
    losses = _detection_losses(flat, targets, real)

    logits = wide(flat.logits), wide(flat.centerness)
    if key is None:
        scores = jax.nn.sigmoid(jnp.max(logits[0], axis=-1)) * jax.nn.sigmoid(logits[1])
        places, used = best_positives(targets.index, scores, max_positives)
    else:
        places, used = random_positives(targets.index, key, max_positives)
    owners = jnp.maximum(jnp.take_along_axis(targets.index, places, axis=1), 0)
    parameters = jnp.take_along_axis(flat.parameters, places[..., None], axis=1)
    mask_logits = instance_masks(
        maps.mask_features,
        # Zeros in slots without a location: nothing that is in their place can reach the gradients.
        jnp.where(used[..., None], wide(parameters), 0),
        flat.locations[places],
        flat.scales[places],
        channels=channels,
        stride=strides[0],
        relative_coordinates=relative_coordinates,
        chunk=chunk,
        precision=precision,
        implementation=implementation,
    )
    if masks == 'dice':
        own = jnp.take_along_axis(batch['masks'], owners[..., None, None], axis=1)
        losses['mask'] = mask_loss(mask_logits, own, used)
    else:
        own = box_masks(jnp.take_along_axis(boxes, owners[..., None], axis=1), shape, shape[0] // mask_logits.shape[2])
        found = box_mask_losses(mask_logits, own, used, batch['image'], batch['size'], batch.get('bottom'))
        losses |= {'projection': found['projection'], 'pairwise': pairwise_weight * found['pairwise']}
    if maps.semantic is not None:
        losses['semantic'] = _semantic_loss(maps.semantic, batch['semantic'], real)
    return losses


def _detection_losses(flat, targets, real):
    logits = wide(flat.logits)
    positive = targets.index >= 0
    count = jnp.maximum(jnp.sum(positive.astype(logits.dtype)), 1)
    each = focal_loss(logits, _one_hot(targets.classes, logits.shape[-1]))
    centerness = jnp.where(positive, centerness_targets(targets.distances), 0).astype(logits.dtype)
    boxes = jnp.where(positive, box_loss(flat.boxes, targets.distances), 0)
    central = jnp.where(positive, centerness_loss(flat.centerness, centerness), 0)
    return {
        'classification': jnp.sum(jnp.where(real[:, None, None], each, 0)) / count,
        'box': jnp.sum(centerness * boxes) / jnp.maximum(jnp.sum(centerness), LEAST_CENTERNESS),
        'centerness': jnp.sum(central) / count,
    }


def _semantic_loss(logits, labels, real):
    one_hot = _one_hot(labels - 1, logits.shape[-1]) & real[:, None, None, None]
    each = jnp.where(real[:, None, None, None], focal_loss(logits, one_hot), 0)
    return jnp.sum(each) / jnp.maximum(jnp.sum(one_hot.astype(each.dtype)), 1)


def _one_hot(classes, count):
    return classes[..., None] == jnp.arange(count).reshape((1,) * classes.ndim + (count,))


def _check(maps, batch, masks):
    wanted = ['boxes', 'classes', 'valid', *(('centers', 'masks') if masks == 'dice' else ('image', 'size'))]
    if maps.semantic is not None:
        wanted.append('semantic')
    missing = [name for name in wanted if name not in batch]
    if missing:
        raise ValueError(f'batch: expected {", ".join(wanted)}, got none of {", ".join(missing)}')
    height, width = maps.mask_features.shape[1:3]
    if masks == 'dice' and batch['masks'].shape[2:] != (2 * height, 2 * width):
        raise ValueError(
            f'batch: expected masks of twice the size of the mask features {(height, width)}, '
            f'got shape {batch["masks"].shape}'
        )
