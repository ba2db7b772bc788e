"""How far local filters move what they filter."""

import numpy as np


def displacement(taps, filter_size):
    """The mean motion (..., 2), down and to the right in pixels, that filters (..., kh * kw) give to an image.

    Output p takes the share F_t of input p + t - k // 2, so that what it shows has moved by
    - sum over t of F_t (t - k // 2). `filter_size` is kh = kw, or both; the taps are in row-major order and sum to 1.

    >>> taps = np.zeros(9)
    >>> taps[0] = 1  # all from the upper left
    >>> displacement(taps, 3).tolist()
    [1.0, 1.0]
    """
    height, width = (filter_size, filter_size) if np.ndim(filter_size) == 0 else filter_size
    down, right = np.mgrid[:height, :width].reshape(2, -1) - np.array([[height // 2], [width // 2]])
    return -np.stack([taps @ down, taps @ right], axis=-1).astype(np.float64)
