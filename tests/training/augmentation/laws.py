"""Random images, a float64 resampler that shares no code with PIL, and a test of distributions."""

import numpy as np
from PIL import Image

# What the Kolmogorov-Smirnov statistic times sqrt(n) exceeds with a probability of 2 exp(-2 * 2.2^2) = 1.3e-4.
KS_BOUND = 2.2


def noise(height, width, mode='RGB', seed=0):
    """PIL image of even noise."""
    shape = (height, width, 3) if mode == 'RGB' else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def smooth(height, width, mode='RGB', seed=0):
    """PIL image of slow waves in all channels, of nearly the whole range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(x / a + y / b) for a, b in rng.uniform(3, 9, (3, 2))]
    image = np.stack(waves, -1).astype(np.uint8)
    return Image.fromarray(image if mode == 'RGB' else image[..., 0].copy())


def levels(image):
    """(H, W, C) as int64, so that differences do not wrap around."""
    return np.asarray(image, np.int64).reshape(*np.shape(image)[:2], -1)


def assert_follows(samples, cumulative):
    """The samples come from the continuous law with that cumulative distribution function (Kolmogorov-Smirnov)."""
    samples = np.sort(np.asarray(samples, np.float64))
    n = len(samples)
    expected = cumulative(samples)
    distance = max(np.abs(np.arange(1, n + 1) / n - expected).max(), np.abs(expected - np.arange(n) / n).max())
    assert distance * np.sqrt(n) < KS_BOUND


def uniform(low, high):
    return lambda x: np.clip((x - low) / (high - low), 0, 1)


def assert_frequency(count, trials, probability):
    """The count is within four standard deviations of the binomial law's mean."""
    deviation = np.sqrt(trials * probability * (1 - probability))
    assert abs(count - trials * probability) <= 4 * deviation


def _triangle(t):
    return np.maximum(0, 1 - np.abs(t))


def _keys(t):
    t = np.abs(t)
    return np.where(t < 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0))


KERNELS = {'bilinear': (_triangle, 1), 'bicubic': (_keys, 2)}


def resampled(image, new_height, new_width, interpolation):
    """(H, W, C) as whole levels: each new pixel the weighted mean of those under a kernel as wide as the scale."""
    x = levels(image).astype(np.float64)
    for axis, size in ((1, new_width), (0, new_height)):
        x = np.moveaxis(_lines(np.moveaxis(x, axis, 0), size, *KERNELS[interpolation]), 0, axis)
    return x.astype(np.int64)


def _lines(x, size, kernel, support):
    scale = len(x) / size
    if scale == 1:
        return x
    width = max(scale, 1)
    new = np.zeros((size, *x.shape[1:]))
    for i in range(size):
        centre, total = (i + 0.5) * scale, 0.0
        for j in range(len(x)):
            if abs(j + 0.5 - centre) < support * width:
                weight = kernel((j + 0.5 - centre) / width)
                new[i] += weight * x[j]
                total += weight
        new[i] /= total
    return np.clip(np.floor(new + 0.5), 0, 255)


def assert_same_levels(result, expected):
    """To one level, and where a value lies in the middle of two.

    PIL's weights have 22 bits, and whether exactly half a level is rounded up depends on them. At scales that are
    simple fractions a value of eighteen may be such a half; another rule of rounding would change half of all values.
    """
    difference = np.abs(levels(result) - levels(expected))
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.1
