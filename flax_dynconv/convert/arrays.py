"""Arrays from anywhere as numpy: numpy's own, JAX's and, without importing torch, PyTorch's tensors."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def as_numpy(value: Any) -> np.ndarray:
    """A numpy array with the value's dtype; a tensor is detached and copied to the host.

    Raises TypeError for anything that is no array of numbers.

    >>> as_numpy(np.float32([1, 2])).dtype
    dtype('float32')
    """
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        # numpy has no bfloat16 of its own: go through float32, which is exact.
        value = value.float().numpy().astype(jnp.bfloat16) if str(value.dtype) == 'torch.bfloat16' else value.numpy()
    if not hasattr(value, 'dtype'):
        raise TypeError(f'expected an array, got {type(value).__name__}')
    array = np.asarray(value)
    if not (is_floating(array) or array.dtype.kind in 'iub'):
        raise TypeError(f'expected an array of numbers, got dtype {array.dtype}')
    return array


def is_floating(array: np.ndarray) -> bool:
    """True for float16, bfloat16, float32 and float64, whoever made the array."""
    return jnp.issubdtype(array.dtype, jnp.floating)
