"""One conversion of a PyTorch checkpoint, with everything that is known of it afterwards."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from flax_dynconv.convert.arrays import is_floating
from flax_dynconv.convert.classifier import CLASSES, count_classes, with_classes
from flax_dynconv.convert.engine import expected_leaves, state_to_leaves, torch_names, torch_shape
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.parts import inferred
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.rules import RuleTable
from flax_dynconv.convert.unwrapping import Unwrapped, unwrap


class Conversion(NamedTuple):
    """The module, its leaves by path, and the state_dict they come from as it lay in the checkpoint."""

    module: nn.Module
    leaves: dict[str, np.ndarray]
    source: Unwrapped
    arguments: dict[str, Any]


def convert_checkpoint(
    reference: str,
    record: Reference,
    checkpoint: Mapping[str, Any],
    arguments: Mapping[str, Any] | None,
    *,
    ema: bool | None = None,
    dtype: Any = None,
    param_dtype: Any = None,
    temperature: float = 1.0,
) -> Conversion:
    """Everything that `from_torch` does, and raises what it raises."""
    bound = inferred(record, record.signature.bind(reference, arguments), checkpoint)
    module = record.build(bound, dtype, param_dtype)
    table, buffers = RuleTable(record.rules(bound)), record.buffers(bound)
    expected = expected_leaves(module, record.example(bound), record.call(False), table)
    source = unwrap(checkpoint, torch_names(table, expected) or buffers, ema=ema)
    leaves = state_to_leaves(source, table, expected, record.dropped, buffers)
    if param_dtype is not None:
        leaves = {path: cast(path, leaf, param_dtype) for path, leaf in leaves.items()}
    leaves |= _temperatures(reference, expected, temperature, param_dtype)
    return Conversion(module, leaves, source, bound)


def convert_classes(
    reference: str,
    table: RuleTable,
    checkpoint: Mapping[str, Any],
    expected: Mapping[str, Any],
    *,
    ema: bool | None = None,
) -> dict[str, np.ndarray]:
    """The leaves of a network for as many classes as the checkpoint has, of a trained one: temperatures are 1.

    table: names the keys. expected: the network's leaves for `CLASSES` classes, whatever its fields, which may be none
    that the reference's constructor has. Raises ConversionError as `from_torch` does.
    """
    targets = torch_names(table, expected)
    source = unwrap(checkpoint, targets, ema=ema)
    expected = with_classes(expected, _classes(targets, expected, source.state))
    return state_to_leaves(source, table, expected) | _temperatures(reference, expected, 1.0, None)


def cast(path: str, leaf: Any, param_dtype: Any) -> Any:
    """A leaf in the parameters' dtype; statistics stay at least float32, as Flax itself keeps them."""
    if not is_floating(leaf):
        return leaf
    wide = path.startswith(('batch_stats/', 'temperature/'))
    return leaf.astype(jnp.promote_types(param_dtype, jnp.float32) if wide else param_dtype)


def _classes(targets, expected, state):
    """How many classes the arrays of the classifier have, by their shapes in PyTorch."""
    ours = {key: expected[path] for key, (path, _) in targets.items()}
    shapes = {key: torch_shape(targets[key][1], leaf.shape) for key, leaf in ours.items() if CLASSES in leaf.shape}
    return count_classes(shapes, {key: tuple(getattr(state[key], 'shape', ())) for key in shapes if key in state})


def _temperatures(reference, expected, temperature, param_dtype):
    paths = [path for path in expected if path.startswith('temperature/')]
    try:
        usable = 0 < float(temperature) < float('inf')
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise ConversionError(f'temperature: expected a finite number > 0, got {temperature}')
    if not paths and temperature != 1.0:
        raise ConversionError(f'temperature: {reference} has none, expected 1.0, got {temperature}')
    # As the parameters, but never below float32: the attention is computed there.
    dtype = np.float32 if param_dtype is None else jnp.promote_types(param_dtype, jnp.float32)
    return {path: np.asarray(temperature, dtype) for path in paths}
