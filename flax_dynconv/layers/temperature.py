"""The temperature of an attention: a variable of its own, absent or present, and how to set it everywhere."""

import numbers
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.core import FrozenDict

COLLECTION = 'temperature'
NAME = 'value'


def read_temperature(module: nn.Module) -> jax.Array | float:
    """The module's temperature: created as 1.0 by `init`, read where it is given, else 1.0."""
    if module.has_variable(COLLECTION, NAME):
        value = module.get_variable(COLLECTION, NAME)
        if not isinstance(value, jax.core.Tracer) and not (np.asarray(value) > 0).all():
            raise ValueError(f'temperature: expected a value > 0, got {value}')
        return value
    if module.is_initializing() and module.is_mutable_collection(COLLECTION):
        return module.variable(COLLECTION, NAME, jnp.ones, (), jnp.float32).value
    return 1.0


def set_temperature(variables: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    """A copy of `variables` in which every attention has the temperature `value`.

    attention = softmax(logits / value) (sigmoid alike): large is near uniform, 1 is the trained network.

    Args:
      variables: a dict or FrozenDict with the collection 'temperature', as `init` returns it.
      value: scalar > 0, a number or an array. It may be traced: the value is an argument of the compiled program, so
        a schedule recompiles nothing, and it is checked only where it is known.

    Returns:
      The same kind of mapping, all other collections as they were; temperatures keep their shapes and dtypes.

    Raises:
      ValueError: for a value that is known and not > 0, for one that is no scalar, and where there is no temperature.

    >>> import jax, jax.numpy as jnp
    >>> from flax_dynconv.layers import DynamicConv, set_temperature
    >>> variables = DynamicConv(2, (1,)).init(jax.random.key(0), jnp.ones((1, 4, 3)))
    >>> variables['temperature']
    {'routing': {'value': Array(1., dtype=float32)}}
    >>> set_temperature(variables, 30.0)['temperature']
    {'routing': {'value': Array(30., dtype=float32)}}
    """
    if not isinstance(value, numbers.Real | np.generic | np.ndarray | jax.Array):
        raise ValueError(f'value: expected a number or an array, got {value!r}')
    if jnp.ndim(value) != 0:
        raise ValueError(f'value: expected a scalar, got shape {jnp.shape(value)}')
    if not isinstance(value, jax.core.Tracer) and not float(value) > 0:
        raise ValueError(f'value: expected a temperature > 0, got {float(value)}')
    leaves = traverse_util.flatten_dict(variables.get(COLLECTION, {}))
    if not leaves:
        raise ValueError(f'variables: expected a collection {COLLECTION!r}, got the collections {sorted(variables)}')
    new = {path: jnp.full(jnp.shape(leaf), value, jnp.result_type(leaf)) for path, leaf in leaves.items()}
    copy = {**variables, COLLECTION: traverse_util.unflatten_dict(new)}
    return FrozenDict(copy) if isinstance(variables, FrozenDict) else copy
