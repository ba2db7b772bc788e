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
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.rules import RuleTable
from flax_dynconv.convert.unwrapping import Unwrapped, unwrap


class Conversion(NamedTuple):
    """The module, its leaves by path, and the state_dict they come from as it lay in the checkpoint.

    arguments: complete ones. classes: length of its classifier where it was asked for, 0 where there is none.
    """

    module: nn.Module
    leaves: dict[str, np.ndarray]
    source: Unwrapped
    arguments: dict[str, Any]
    classes: int | None = None


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
    infer_classes: bool = False,
) -> Conversion:
    """Everything that `from_torch` does; `infer_classes` reads the argument `num_classes` from the checkpoint.

    Raises ConversionError as `from_torch` does.
    """
    bound = record.signature.bind(reference, arguments)
    if infer_classes:
        bound['num_classes'] = CLASSES
    expected = expected_leaves(record.build(bound, dtype, param_dtype), record.example(bound), record.call(False))
    targets = torch_names(RuleTable(record.rules(bound)), expected)
    source, classes = unwrap(checkpoint, targets, ema=ema), None
    if infer_classes:
        classes = _classes(targets, expected, source.state)
        bound['num_classes'] = classes or CLASSES
        expected = with_classes(expected, classes)
    leaves = state_to_leaves(source, RuleTable(record.rules(bound)), expected)
    if param_dtype is not None:
        leaves = {path: cast(path, leaf, param_dtype) for path, leaf in leaves.items()}
    leaves |= _temperatures(reference, expected, temperature, param_dtype)
    return Conversion(record.build(bound, dtype, param_dtype), leaves, source, bound, classes)


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
