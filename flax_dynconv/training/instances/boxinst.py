"""BoxInst's losses: masks that are learned from boxes and colours alone."""

import jax
import jax.numpy as jnp

from flax_dynconv.training.instances.dice import dice_loss
from flax_dynconv.training.instances.lab import rgb_to_lab
from flax_dynconv.training.losses import wide

SIZE, DILATION, COLOR_THRESHOLD = 3, 2, 0.3


def projection_loss(scores, masks):
    """dice(max_y p, max_y g) + dice(max_x p, max_x g) of each mask: (...), in float32 or wider.

    scores p (..., H, W) probabilities, masks g (..., H, W) 0 or 1, boxes drawn as masks, as for `dice_loss`, which says
    what is raised. Only where the profiles of a mask begin and end is learned.

    >>> box = jnp.zeros((1, 4, 6)).at[:, 1:3, 2:5].set(1)
    >>> projection_loss(box, box).round(4).tolist()
    [0.0]

    Source: Tian et al., "BoxInst" (CVPR 2021), eq. 3; the mean over instances is AdelaiDet's `compute_project_term`.
    """
    profiles = ((jnp.max(scores, axis), jnp.max(masks, axis)) for axis in (-2, -1))
    return sum(dice_loss(p, g, axes=-1) for p, g in profiles)


def pairwise_loss(logits, size=SIZE, dilation=DILATION):
    """-log P(a pixel and its neighbour have the same label): (..., size^2 - 1, H, W), in float32 or wider.

    P = p_i p_j + (1 - p_i)(1 - p_j), p = sigmoid(logits (..., H, W)). Neighbours are the other cells of a window of
    `size` x `size`, `dilation` pixels apart, row by row; for those outside of the image it is 0.

    Raises ValueError for an even size.

    >>> abs(pairwise_loss(jnp.zeros((1, 5, 5)))[0, 4, 2]).round(4)
    Array([0.6931, 0.6931, 0.6931, 0.    , 0.    ], dtype=float32)

    Source: Tian et al., "BoxInst" (CVPR 2021), eq. 5; equal to AdelaiDet's `compute_pairwise_term`.
    """
    return jnp.stack([_pair(*pair) for pair in _pairs(logits, size, dilation)], axis=-3)


def weighted_pairwise_loss(logits, similarity, masks, threshold=COLOR_THRESHOLD, size=SIZE, dilation=DILATION):
    """Sums over masks, pixels and neighbours of w * `pairwise_loss` and of w, two scalars in float32 or wider.

    w = 1 where similarity (B, size^2 - 1, H, W) is the threshold at least and the pixel is in the mask, masks
    (B, N, H, W) 0 or 1, a box drawn as a mask; logits (B, N, H, W). One neighbour after the other, so that no array has
    an axis of neighbours as well as one of masks. The loss is the first sum divided by the second, at least 1.

    >>> sums = weighted_pairwise_loss(jnp.zeros((1, 2, 5, 5)), jnp.ones((1, 8, 5, 5)), jnp.ones((1, 2, 5, 5)))
    >>> (sums[0] / sums[1]).round(4).tolist() < jnp.log(2).item(), sums[1].item()
    (True, 400.0)

    Source: Tian et al., "BoxInst" (CVPR 2021), eq. 6, as in AdelaiDet's `DynamicMaskHead`.
    """
    loss, total = 0, 0
    for j, pair in enumerate(_pairs(logits, size, dilation)):
        similar = similarity[:, None, j] >= threshold
        weights = jnp.where(jnp.broadcast_to(similar, masks.shape), masks, 0).astype(pair[0].dtype)
        # Its activations are computed again in the backward pass: they would be saved for every neighbour.
        loss += jnp.sum(weights * jax.checkpoint(_pair)(*pair))
        total += jnp.sum(weights)
    return loss, total


def color_similarity(lab, valid, size=SIZE, dilation=DILATION):
    """exp(-|Lab_i - Lab_j| / 2) of a pixel and each of its neighbours: (..., size^2 - 1, H, W), in float32 or wider.

    lab (..., H, W, 3); valid (..., H, W) is 1 for pixels of the image, 0 for padding and others that are not compared:
    neighbours that are not valid, or outside, have 0. Neighbours are those of `pairwise_loss`. Where colours are equal
    the gradient is 0.

    Raises ValueError for shapes that do not fit and for an even size.

    >>> color_similarity(jnp.zeros((5, 5, 3)), jnp.ones((5, 5)))[4, 2].tolist()
    [1.0, 1.0, 1.0, 0.0, 0.0]

    Source: Tian et al., "BoxInst" (CVPR 2021), eq. 4; equal to AdelaiDet's `get_images_color_similarity`.
    """
    if lab.shape != (*valid.shape, 3):
        raise ValueError(
            f'lab and valid must have the shapes (..., H, W, 3) and (..., H, W), got {lab.shape}, {valid.shape}'
        )
    channels = jnp.moveaxis(wide(lab), -1, 0)
    similar = []
    pairs = zip(
        neighbours(channels, size, dilation), neighbours(valid.astype(channels.dtype), size, dilation), strict=True
    )
    for colors, kept in pairs:
        squares = jnp.sum((channels - colors) ** 2, axis=0)
        equal = squares == 0
        distance = jnp.where(equal, 0, jnp.sqrt(jnp.where(equal, 1, squares)))
        similar.append(jnp.exp(-distance / 2) * kept)
    return jnp.stack(similar, axis=-3)


def image_similarity(image, valid, stride=4, size=SIZE, dilation=DILATION):
    """`color_similarity` of an image (..., H, W, 3) uint8 at a coarser stride: (..., size^2 - 1, H/stride, W/stride).

    Blocks of stride x stride pixels are averaged, rounded down to bytes and converted to Lab; valid (..., H, W) is
    sampled at [stride // 2 :: stride].

    Raises ValueError for an image whose sides are not multiples of the stride.

    >>> image_similarity(jnp.zeros((20, 20, 3), jnp.uint8), jnp.ones((20, 20)))[4, 2].tolist()
    [1.0, 1.0, 1.0, 0.0, 0.0]

    Source: AdelaiDet's `add_bitmasks_from_boxes`.
    """
    *batch, height, width, _ = image.shape
    if height % stride or width % stride:
        raise ValueError(f'image must have sides that are multiples of the stride {stride}, got {image.shape}')
    blocks = image.astype(jnp.float32).reshape(*batch, height // stride, stride, width // stride, stride, 3)
    means = jnp.floor(jnp.mean(blocks, axis=(-4, -2))).astype(jnp.uint8)
    start = stride // 2
    return color_similarity(rgb_to_lab(means), valid[..., start::stride, start::stride], size, dilation)


def _pairs(logits, size, dilation):
    """Logarithms of the probabilities of both labels, of pixels and of each of their neighbours."""
    logits = wide(logits)
    same, other = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    pairs = zip(neighbours(same, size, dilation), neighbours(other, size, dilation), strict=True)
    return [(same, other, *pair) for pair in pairs]


def _pair(same, other, its_same, its_other):
    # Zeros outside of the image are the logarithms of certainty for both labels, so that P is 1 there.
    return -jnp.logaddexp(same + its_same, other + its_other)


def neighbours(values, size=SIZE, dilation=DILATION):
    """The values (..., H, W) of each neighbour, zeros outside of the image: a list of size^2 - 1 arrays (..., H, W).

    >>> [int(n[1, 1]) for n in neighbours(jnp.arange(9).reshape(3, 3), 3, 1)]
    [0, 1, 2, 3, 5, 6, 7, 8]
    """
    if size % 2 == 0:
        raise ValueError(f'size must be odd, got {size}')
    height, width = values.shape[-2:]
    reach = size // 2 * dilation
    padded = jnp.pad(values, [(0, 0)] * (values.ndim - 2) + [(reach, reach)] * 2)
    steps = [(dilation * i, dilation * j) for i in range(size) for j in range(size)]
    del steps[len(steps) // 2]
    return [padded[..., y : y + height, x : x + width] for y, x in steps]
