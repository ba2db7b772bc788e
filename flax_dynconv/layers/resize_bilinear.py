"""Bilinear resizing of maps, as PyTorch's interpolation does it."""

import jax
import numpy as np

from flax_dynconv.layers._resample import between, resample


def resize_bilinear(x: jax.Array, size, align_corners: bool = False) -> jax.Array:
    """x at `size` points along height and width, linear between the two nearest pixels; no antialiasing.

    Point i of m along an axis of n pixels lies at (i + 1/2) n / m - 1/2, not below 0 (pixels are areas), or with
    `align_corners` at i (n - 1) / (m - 1), 0 for m = 1 (the centres of the corner pixels stay where they are). Beyond
    the last pixel it is that pixel. Made smaller, pixels between the points have no say.

    x (B, H, W, C), any real dtype; `size` m, or (m, m'); the result (B, m, m', C) in promote_types(x.dtype, float32).
    Two products with static matrices: batch and channels may be sharded, the batch may be symbolic.

    Raises ValueError for another rank, a height or width that is 0 or unknown at tracing, and a size below 1.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([0.0, 3.0]).reshape(1, 2, 1, 1)
    >>> resize_bilinear(x, (4, 1)).ravel()
    Array([0.  , 0.75, 2.25, 3.  ], dtype=float32)
    >>> resize_bilinear(x, (4, 1), align_corners=True).ravel()
    Array([0., 1., 2., 3.], dtype=float32)

    Source: equal to `torch.nn.functional.interpolate(mode='bilinear', align_corners=...)` with a size.
    """
    return resample(x, size, _aligned if align_corners else _areas)


def _areas(old, new):
    return between(np.maximum((np.arange(new) + 0.5) * old / new - 0.5, 0), old)


def _aligned(old, new):
    return between(np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0), old)
