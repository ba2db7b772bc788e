"""What a predicted frame is judged by: cross-entropy and squared error, and those of the best constant image."""

import jax.numpy as jnp
import numpy as np

EPSILON = 2.0**-23  # float32's


def cross_entropy(predicted, frames):
    """-(t log p + (1 - t) log(1 - p)) of every pixel, p clipped to [2^-23, 1 - 2^-23]; in float32 or wider.

    >>> cross_entropy(jnp.array([0.5, 0.0]), jnp.array([0.25, 1.0])).round(3).tolist()
    [0.6930000185966492, 15.942000389099121]

    Source: De Brabandere et al., "Dynamic Filter Networks" (NIPS 2016), as trained by dbbert/dfn.
    """
    p, t = _wide(predicted), _wide(frames)
    p = jnp.clip(p, EPSILON, 1 - EPSILON)
    return -(t * jnp.log(p) + (1 - t) * jnp.log1p(-p))


def squared_error(predicted, frames):
    """(p - t)^2 of every pixel, in float32 or wider."""
    return jnp.square(_wide(predicted) - _wide(frames))


def of_best_constant(mean, mean_square):
    """{'bce', 'mse'} of the constant image that is best for frames with this mean image; in float64.

    Both are least for the mean of the frames in every pixel: d/dc of -(m log c + (1 - m) log(1 - c)) and of
    E[t^2] - 2 c m + c^2 are 0 at c = m. `mean_square` is the mean of t^2 over frames and pixels; rounding of the two
    gives no error below 0.

    >>> of_best_constant(np.array([0.0, 1.0]), 0.5)['mse']
    0.0
    """
    mean = np.asarray(mean, np.float64)
    p = np.clip(mean, EPSILON, 1 - EPSILON)
    bce = -np.mean(mean * np.log(p) + (1 - mean) * np.log1p(-p))
    return {'bce': float(bce), 'mse': max(0.0, float(mean_square - np.mean(mean**2)))}


def _wide(values):
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))
