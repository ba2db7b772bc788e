"""Golden cases of losses: inputs in our dtype, and the bound of each array for a run in it."""

import jax.numpy as jnp
import numpy as np

from tests.golden.loader import Golden

# How close a float64 run is to the stored float64 numbers.
GOLDEN_F64 = 1e-9


class Stored:
    def __init__(self, name, dtype):
        self.case, self.dtype = Golden(name), dtype
        self.inputs = {k: jnp.asarray(a, dtype) for k, a in self.case.inputs.items()}

    def check(self, name, actual):
        """Fail unless `actual` is the stored array `name`, within its bound, and of the dtype."""
        expected = self.case.arrays[name]
        assert actual.dtype == self.dtype and np.shape(actual) == expected.shape, (actual.dtype, np.shape(actual))
        scale = max(1, np.abs(expected).max())
        bound = self.case.bound('eval', name) if self.dtype == 'float32' else GOLDEN_F64 * scale
        distance = np.abs(np.asarray(actual, np.float64) - expected).max()
        assert distance <= bound, (name, distance, bound)

    def cotangent(self, name):
        return jnp.asarray(self.case.cotangents[list(self.case.outputs).index(name)], self.dtype)
