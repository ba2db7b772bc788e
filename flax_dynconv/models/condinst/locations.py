"""Where the positions of a map lie in the image, and the levels of the published networks."""

import jax
import jax.numpy as jnp

from flax_dynconv.ops._checks import check_ints

# Pixels of the image per position, and the largest extent of a box, in pixels, that is a level's (the last: no limit).
STRIDES = (8, 16, 32, 64, 128)
SIZES_OF_INTEREST = (64, 128, 256, 512, 1024)


def level_locations(height: int, width: int, stride: int) -> jax.Array:
    """The pixel of the image at each position of a map: x = stride * column + stride // 2, y likewise.

    Returns (height * width, 2) float32, x before y, row by row.

    Raises ValueError for a size or stride below 1.

    >>> level_locations(2, 2, 8).tolist()
    [[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [12.0, 12.0]]

    Source: equal to `compute_locations` of AdelaiDet.
    """
    check_ints(height=height, width=width, stride=stride)
    x, y = (stride * jnp.arange(n, dtype=jnp.float32) + stride // 2 for n in (width, height))
    return jnp.stack(jnp.meshgrid(x, y, indexing='xy'), axis=-1).reshape(-1, 2)
