"""What a steerable filter shall give: the derivative of a Gaussian along an angle, computed apart from the network."""

import functools

import numpy as np

RADIUS = 4  # of the filter: 9x9 taps


def directional_derivative(image, theta):
    """The image (H, W, 1) filtered at the angle theta, in radians: (H, W, 1), float32; black beyond the edges.

    y[i, j] = sum over u, v from -4 to 4 of K(u, v) x[i + v, j + u],
    K(u, v) = -(u cos theta + v sin theta) exp(-(u^2 + v^2) / 2)

    K is a sum of two products of a function of u and one of v, so that y = cos(theta) G x D^T + sin(theta) D x G^T
    with banded matrices. These are sums in float64, and none of the operators that the network uses.

    >>> impulse = np.zeros((9, 9, 1))
    >>> impulse[4, 4] = 1
    >>> y = directional_derivative(impulse, 0.0)
    >>> round(float(y[4, 3, 0]), 4), round(float(y[4, 5, 0]), 4)
    (-0.6065, 0.6065)

    Source: De Brabandere et al., "Dynamic Filter Networks" (NIPS 2016), section 4.1; the training data of dbbert/dfn,
    which are true convolutions with the separable filters: the same in closed form.
    """
    height, width, _ = image.shape
    pixels = np.asarray(image[:, :, 0], np.float64)
    along = _band(height, smooth) @ pixels @ _band(width, slope).T
    down = _band(height, slope) @ pixels @ _band(width, smooth).T
    return (np.cos(theta) * along + np.sin(theta) * down).astype(np.float32)[:, :, None]


def smooth(offset):
    """exp(-u^2 / 2)."""
    return np.exp(-(offset**2) / 2)


def slope(offset):
    """-u exp(-u^2 / 2)."""
    return -offset * smooth(offset)


@functools.cache
def _band(size, function):
    """(size, size): row i holds function(j - i) where that is within the filter, and 0 elsewhere."""
    offset = np.arange(size)[None, :] - np.arange(size)[:, None]
    return np.where(np.abs(offset) <= RADIUS, function(offset.astype(np.float64)), 0.0)
