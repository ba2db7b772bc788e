"""What a steerable filter has to learn: the derivative of a Gaussian at an angle, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np

from flax_dynconv.ops import per_sample_conv

RADIUS = 4


def steering_kernel(theta: jax.Array) -> jax.Array:
    """The 9x9 filter at an angle: K[v, u] = -(u cos(theta) + v sin(theta)) exp(-(u^2 + v^2) / 2), u, v from -4 to 4.

    theta (B,) in radians to (B, 9, 9), rows v and columns u, in promote_types(theta's dtype, float32). As a
    cross-correlation it is what the derivatives of a Gaussian of unit width, not normalised, give as convolutions.

    Raises ValueError for a theta that is not (B,).

    >>> import jax.numpy as jnp
    >>> kernel = steering_kernel(jnp.array([0.0]))
    >>> kernel.shape, bool(kernel[0, 4, 3] == -kernel[0, 4, 5] > 0)
    ((1, 9, 9), True)

    Source: Freeman and Adelson, "The Design and Use of Steerable Filters" (1991); sizes as the training data of
    Dynamic Filter Networks (arXiv:1605.09673, section 4.1).
    """
    theta = jnp.asarray(theta)
    if theta.ndim != 1:
        raise ValueError(f'theta: expected shape (B,), got {theta.shape}')
    theta = theta.astype(jnp.promote_types(theta.dtype, jnp.float32))[:, None, None]
    v, u = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    gauss = np.exp(-(u**2 + v**2) / 2)
    along_u, along_v = (jnp.asarray(-(axis * gauss)[None], theta.dtype) for axis in (u, v))
    return jnp.cos(theta) * along_u + jnp.sin(theta) * along_v


def steered(image: jax.Array, theta: jax.Array) -> jax.Array:
    """The image filtered at the angle: y[b] = conv(image[b], steering_kernel(theta[b])), zeros around it.

    image (B, H, W, 1) and theta (B,) in radians to (B, H, W, 1), in the image's dtype.

    Raises ValueError for other shapes.

    >>> import jax.numpy as jnp
    >>> ramp = jnp.tile(jnp.arange(12.0), (12, 1))[None, :, :, None]
    >>> flat = steered(ramp, jnp.array([jnp.pi / 2]))[0, 6, 6, 0]
    >>> bool(jnp.abs(flat) < 1e-5)
    True
    """
    image = jnp.asarray(image)
    if image.ndim != 4 or image.shape[-1] != 1:
        raise ValueError(f'image: expected shape (B, H, W, 1), got {image.shape}')
    return per_sample_conv(image, steering_kernel(theta)[..., None, None], padding=RADIUS)
