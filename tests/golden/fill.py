"""Weights and inputs from their names: each tensor has a random stream of its own, seeded by a checksum of its name."""

import math
import zlib

import numpy as np


def _stream(name):
    return np.random.RandomState(zlib.crc32(name.encode()))


def tensor(key, shape, fan=None, gain=1.0):
    """One tensor of a state_dict, float32 (counters int64); `fan` is the number of inputs where the shape hides it."""
    stream, leaf = _stream(key), key.split('.')[-1]
    if leaf == 'num_batches_tracked':
        return np.zeros(shape, np.int64)
    if leaf == 'running_var':
        values = stream.uniform(0.5, 1.5, shape)
    elif leaf == 'running_mean' or leaf.endswith('bias'):
        values = 0.1 * stream.standard_normal(shape)
    elif len(shape) > 1:
        fan = fan or math.prod(shape[2:] if len(shape) > 4 else shape[1:])
        # In this order: the product is rounded to float32 once, and another order rounds some values differently.
        values = stream.standard_normal(shape) * (gain / np.sqrt(fan))
    else:
        values = 1.0 + 0.1 * stream.standard_normal(shape)
    return np.asarray(values, np.float32)


def array(name, shape, kind='normal'):
    """One input or cotangent: N(0, 1) or, for kind 'uniform', U(0, 1)."""
    stream = _stream(name)
    return np.asarray(
        stream.standard_normal(shape) if kind == 'normal' else stream.uniform(0.0, 1.0, shape), np.float32
    )
