"""The tolerances of all tests, in one table: each is a bound on max|a - b| relative to max(1, max|b|)."""

import jax.numpy as jnp
import numpy as np

# One operator or layer against a float64 oracle, inputs of unit scale, sums of at most a few thousand terms.
BOUND = {
    'float64': 1e-11,
    'float32': 2e-5,
    'float16': 2e-2,
    'bfloat16': 6e-2,
}

# Two implementations, or jit against no jit, in the same dtype: rounding differs in order only.
SAME_DTYPE = {'float64': 1e-11, 'float32': 2e-5, 'float16': 2e-2, 'bfloat16': 6e-2}


def distance(actual, expected):
    """max|actual - expected| / max(1, max|expected|), in float64; infinite when a value is not finite."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f'shape {actual.shape}, expected {expected.shape}'
    if actual.size == 0:
        return 0.0
    if not np.isfinite(actual).all():
        return float('inf')
    return float(np.abs(actual - expected).max() / max(1.0, np.abs(expected).max()))


def assert_close(actual, expected, dtype=None, bound=None):
    """Fail unless `actual` is within the table's bound for `dtype` (its own dtype by default) of `expected`."""
    dtype = jnp.dtype(dtype or actual.dtype).name
    bound = BOUND[dtype] if bound is None else bound
    d = distance(actual, expected)
    assert d <= bound, f'distance {d:.3g} exceeds {bound:.3g} ({dtype}, shape {np.shape(actual)})'
