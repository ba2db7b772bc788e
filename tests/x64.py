"""Double precision for one block, on every supported JAX."""

import jax


def x64():
    """A context manager in which arrays may be float64."""
    return jax.enable_x64(True)
