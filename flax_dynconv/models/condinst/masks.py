"""The masks of instances: their networks applied to the features of their image, a few instances at a time."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from flax_dynconv.layers import aligned_bilinear
from flax_dynconv.ops import Autotune, instance_head, split_parameters
from flax_dynconv.ops._checks import check_ints, check_rank, check_shape


def instance_masks(
    mask_features: jax.Array,
    parameters: jax.Array,
    locations: jax.Array | None,
    scales: jax.Array | None,
    *,
    channels: Sequence[int] = (10, 8, 8, 1),
    stride: int = 8,
    upsample: int = 2,
    relative_coordinates: bool = True,
    chunk: int | None = None,
    precision=None,
    implementation: str | Autotune | None = None,
) -> jax.Array:
    """Logits of the mask of each instance: its network on the features of its image, enlarged `upsample` times.

    logits[b, n] = aligned_bilinear(network_bn([(locations[b, n] - grid) / scales[b, n], mask_features[b]]), upsample)

    Args:
      mask_features: (B, h, w, Cm), floating.
      parameters: (B, N, G), floating; the networks, in the layout of `ops.split_parameters`.
      locations: (B, N, 2), x before y, in pixels: where the network was made. Unused without relative coordinates, as
        scales: None will do.
      scales: (B, N), positive, in pixels; of instances that only fill up N too.
      channels: of the layers of a network, see `ops.split_parameters`; (Cm + 2, .., 1), or (Cm, .., 1) without
        relative coordinates.
      stride: pixels of the image per position of the features.
      upsample: how many times the masks are finer than the features.
      relative_coordinates: whether the networks see where they are relative to each position.
      chunk: instances of an image at a time, so that activations of no more are in memory; None: all at once. The
        result is the same.
      precision, implementation: see `ops.instance_head`.

    Returns:
      (B, N, upsample * h, upsample * w) in promote_types(mask_features.dtype, float32).

    Raises ValueError for shapes that do not fit, and for a chunk or an upsample below 1.

    >>> features, parameters = jnp.ones((2, 6, 8, 8)), jnp.ones((2, 5, 169))
    >>> locations, scales = jnp.ones((2, 5, 2)), jnp.full((2, 5), 64.0)
    >>> instance_masks(features, parameters, locations, scales, chunk=2).shape
    (2, 5, 12, 16)

    Source: CondInst (Tian et al., arXiv:2003.05664), `mask_heads_forward_with_coords` of AdelaiDet.
    """
    check_rank('parameters', parameters, (3,), '(B, N, G)')
    check_ints(upsample=upsample)
    where = (None, None)
    if relative_coordinates:
        where = (locations, scales)
        for name, array in (('locations', locations), ('scales', scales)):
            if array is None:
                raise ValueError(f'{name}: expected an array where there are relative coordinates, got None')
        check_shape('locations', locations, (*parameters.shape[:2], 2), '(B, N, 2)')
        check_shape('scales', scales, parameters.shape[:2], '(B, N)')

    def masks(parameters, where):
        weights, biases = split_parameters(parameters, channels)
        logits = instance_head(
            mask_features,
            weights,
            biases,
            *where,
            stride=stride,
            precision=precision,
            preferred_element_type=jnp.promote_types(mask_features.dtype, jnp.float32),
            implementation=implementation,
        )
        return aligned_bilinear(logits, upsample, axes=(2, 3))

    if chunk is None:
        return masks(parameters, where)
    check_ints(chunk=chunk)
    instances = parameters.shape[1]
    if instances <= chunk:
        return masks(parameters, where)

    def pieces(array):
        """(B, N, ..) to (pieces, B, chunk, ..): the last piece is filled up with copies of the last instance."""
        missing = -instances % chunk
        if missing:
            # No `jnp.pad`, whose edges of the batch would travel between devices.
            last = jnp.broadcast_to(array[:, -1:], (array.shape[0], missing, *array.shape[2:]))
            array = jnp.concatenate([array, last], axis=1)
        return jnp.moveaxis(array.reshape(array.shape[0], -1, chunk, *array.shape[2:]), 1, 0)

    logits = jax.lax.map(lambda piece: masks(*piece), jax.tree.map(pieces, (parameters, where)))
    logits = jnp.moveaxis(logits, 0, 1)
    return logits.reshape(logits.shape[0], -1, *logits.shape[3:])[:, :instances]
