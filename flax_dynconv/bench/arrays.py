"""Random operands, drawn alike in every worker; never zeros."""

import math
import zlib

import numpy as np


def draw(shapes: dict[str, tuple[int, ...]], seed: str) -> dict[str, np.ndarray]:
    """float32 arrays by name: attentions as their layers make them, kernels of unit gain, everything else normal.

    'weights' (B, K) are a softmax over K and those per output channel (B, K, Cout) sigmoids, as every '*_scale' is;
    'kernel' and 'kernels' are divided by the square root of their number of taps and input channels.

    >>> draw({'weights': (2, 4)}, 'example')['weights'].sum(1).round(6).tolist()
    [1.0, 1.0]
    """
    generator = np.random.default_rng(zlib.crc32(seed.encode()))
    return {name: _of_its_kind(name, generator.standard_normal(s, np.float32)) for name, s in shapes.items()}


def _of_its_kind(name, noise):
    if name == 'weights' and noise.ndim == 2:
        return np.exp(noise) / np.exp(noise).sum(1, keepdims=True)
    if name == 'weights' or name.endswith('_scale'):
        return 1 / (1 + np.exp(-noise))
    if name in ('kernel', 'kernels'):
        return noise / np.float32(math.sqrt(max(1, math.prod(noise.shape[1:-1]))))
    return noise
