"""From sRGB to CIE Lab, in which distances are those that are seen."""

import jax.numpy as jnp
import numpy as np

XYZ_OF_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
# D65, for an observer of 2 degrees.
WHITE = np.array([0.95047, 1.0, 1.08883])
LINEAR_BELOW, CUBIC_ABOVE = 0.04045, 0.008856


def rgb_to_lab(image):
    """L (0 to 100), a and b of sRGB pixels (..., 3): (..., 3), in float32 or wider.

    image of bytes, 0 to 255, or of floating values from 0 to 1.

    Raises ValueError unless the last axis is 3, TypeError for integers other than uint8.

    >>> [round(float(value), 1) for value in rgb_to_lab(jnp.array([255, 0, 0], jnp.uint8))]
    [53.2, 80.1, 67.2]

    Source: CIE 1976 with the sRGB of IEC 61966-2-1; the constants are those of scikit-image's `rgb2lab`.
    """
    if image.shape[-1:] != (3,):
        raise ValueError(f'image must have the shape (..., 3), got {image.shape}')
    if image.dtype == jnp.uint8:
        image = image.astype(jnp.float32) / 255
    elif not jnp.issubdtype(image.dtype, jnp.floating):
        raise TypeError(f'image must be uint8 or floating, got {image.dtype}')
    image = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    linear = jnp.where(image > LINEAR_BELOW, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
    channels = jnp.moveaxis(linear, -1, 0)
    # Three sums and no matrix product, whose operands accelerators would round.
    x, y, z = (
        _root(sum(float(w) * c for w, c in zip(row / white, channels, strict=True)))
        for row, white in zip(XYZ_OF_RGB, WHITE, strict=True)
    )
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _root(t):
    return jnp.where(t > CUBIC_ABOVE, jnp.cbrt(t), 7.787 * t + 16 / 116)
