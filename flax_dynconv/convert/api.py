"""from_torch and to_torch: PyTorch's weights as a Flax module and its variables, and back."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.convert.arrays import is_floating
from flax_dynconv.convert.engine import expected_leaves, leaves_to_state, state_to_leaves
from flax_dynconv.convert.errors import ConversionError, suggestion
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references import REFERENCES
from flax_dynconv.convert.rules import RuleTable


def get_reference(reference: str) -> Reference:
    """The record of a reference id; raises ConversionError with the closest ids for an unknown one.

    >>> get_reference('odconv.ODConv2d').signature.defaults['reduction']
    0.0625
    """
    if not isinstance(reference, str) or reference not in REFERENCES:
        close, known = suggestion(str(reference), REFERENCES), ', '.join(sorted(REFERENCES))
        raise ConversionError(f'reference: expected one of {known}, got {reference!r}{close}')
    return REFERENCES[reference]


def from_torch(
    reference: str,
    state_dict: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
    *,
    dtype: Any = None,
    param_dtype: Any = None,
    temperature: float = 1.0,
) -> tuple[nn.Module, dict[str, Any]]:
    """A Flax module with the weights of a PyTorch module: same inputs (channels last), same outputs.

    reference: an id from `REFERENCES`, such as 'odconv.ODConv2d'.
    state_dict: key -> numpy array, JAX array or torch tensor, as the PyTorch module saves it.
    arguments: the PyTorch constructor's own names; omitted ones take its defaults.
    dtype, param_dtype: the Flax module's fields. The leaves are cast to `param_dtype` (statistics to
        float32 or wider); None keeps each one's dtype.
    temperature: divides the attention's logits. It is in no state_dict: 1.0 is a trained network's. An argument
        `temperature` of the constructor is where its schedule starts (34 by default) and has no effect here.

    Returns the module and its variables, numpy arrays in the collections `params`, `batch_stats`, `temperature` and
    `torch_buffers` (`num_batches_tracked`: kept for `to_torch`, ignored by the module).
    Raises ConversionError, a ValueError: an unknown reference (closest ids), unknown or missing arguments, and in one
    message all keys that are unused, missing, misshapen or not finite.

    >>> weights = {'weight': np.ones((2, 12 * 8 * 3 * 3), np.float32)}
    >>> arguments = {'in_channels': 8, 'out_channels': 12, 'kernel_size': 3, 'num_experts': 2}
    >>> layer, variables = from_torch('timm.CondConv2d', weights, arguments)
    >>> variables['params']['kernel'].shape
    (2, 3, 3, 8, 12)
    >>> layer.apply(variables, np.ones((1, 5, 5, 8)), np.ones((1, 2))).shape
    (1, 5, 5, 12)
    """
    record = get_reference(reference)
    bound = record.signature.bind(reference, arguments)
    module = record.build(bound, dtype, param_dtype)
    expected = expected_leaves(module, record.example(bound), record.call(False))
    leaves = state_to_leaves(state_dict, RuleTable(record.rules(bound)), expected)
    if param_dtype is not None:
        leaves = {path: _cast(path, leaf, param_dtype) for path, leaf in leaves.items()}
    leaves |= _temperatures(reference, expected, temperature, param_dtype)
    return module, traverse_util.unflatten_dict(leaves, sep='/')


def to_torch(
    reference: str, variables: Mapping[str, Any], arguments: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """The state_dict of the PyTorch module, as numpy arrays: `to_torch(from_torch(s)) == s`, bit for bit.

    Variables that were never in PyTorch (no `torch_buffers`) get `num_batches_tracked` = 0; the temperature is in no
    state_dict and is left out. Gradients in the shape of `params` convert in the same way.
    Raises ConversionError listing all leaves that are unused, missing or misshapen.

    >>> arguments = {'in_channels': 8, 'out_channels': 12, 'kernel_size': 3, 'num_experts': 2}
    >>> to_torch('timm.CondConv2d', {'params': {'kernel': np.ones((2, 3, 3, 8, 12))}}, arguments)['weight'].shape
    (2, 864)
    """
    record = get_reference(reference)
    bound = record.signature.bind(reference, arguments)
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), record.call(False))
    return leaves_to_state(variables, RuleTable(record.rules(bound)), expected)


def _cast(path, leaf, param_dtype):
    """A leaf in the parameters' dtype; statistics stay at least float32, as Flax itself keeps them."""
    if not is_floating(leaf):
        return leaf
    statistics = path.startswith('batch_stats/')
    return leaf.astype(jnp.promote_types(param_dtype, jnp.float32) if statistics else param_dtype)


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
