"""What the layer tests share: deterministic inputs and variables away from their initial zeros and ones."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from tests.catalog import INPUT_SHAPE


def draw(name, shape, dtype=jnp.float32):
    """Unit normal numbers that depend on the name and the shape alone."""
    r = np.random.default_rng([zlib.crc32(str(name).encode()), *shape])
    return jnp.asarray(r.standard_normal(shape), dtype)


def inputs(shape=INPUT_SHAPE, dtype=jnp.float32):
    return draw('x', shape, dtype)


def init(layer, x=None, dtype=jnp.float32):
    """Variables of a layer, moved from where `init` puts them, so that no bias is 0 and no scale 1; variances > 0."""
    x = inputs() if x is None else x
    shapes = jax.eval_shape(layer.init, jax.random.key(0), jax.ShapeDtypeStruct(x.shape, x.dtype))
    return traverse_util.path_aware_map(_moved(dtype), shapes)


def _moved(dtype):
    def move(path, leaf):
        name, array = path[-1], draw('/'.join(path), leaf.shape, dtype)
        if name == 'value':
            return jnp.full(leaf.shape, 1.5, leaf.dtype)
        if name == 'var' or name == 'scale':
            return 1 + 0.3 * jnp.tanh(array)
        if name == 'kernel':
            return array / np.sqrt(max(1, np.prod(leaf.shape[-4:-1])))
        return 0.3 * array

    return move
