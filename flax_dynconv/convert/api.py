"""from_torch and to_torch: PyTorch's weights as a Flax module and its variables, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.convert.conversion import convert_checkpoint
from flax_dynconv.convert.engine import expected_leaves, flatten, leaves_to_state
from flax_dynconv.convert.errors import ConversionError, suggestion
from flax_dynconv.convert.parts import inferred
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
    ema: bool | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A Flax module with the weights of a PyTorch module: same inputs (channels last), same outputs.

    reference: an id from `REFERENCES`, such as 'odconv.ODConv2d'.
    state_dict: key -> numpy array, JAX array or torch tensor, as the PyTorch module saves it; or a checkpoint that
        holds one, in tables such as `{'state_dict': ...}` or under prefixes such as `module.` (see `unwrap`).
    arguments: the PyTorch constructor's own names; omitted ones take its defaults.
    dtype, param_dtype: the Flax module's fields. The leaves are cast to `param_dtype` (statistics to
        float32 or wider); None keeps each one's dtype.
    temperature: divides the attention's logits. It is in no state_dict: 1.0 is a trained network's. An argument
        `temperature` of the constructor is where its schedule starts (34 by default) and has no effect here.
    ema: which copy of the weights, where a checkpoint has an exponential moving average too: None takes that one, as
        people evaluate with it; True demands it; False takes the ordinary weights.

    Returns the module and its variables, numpy arrays in the collections `params`, `batch_stats`, `temperature` and
    `torch_buffers` (`num_batches_tracked`: kept for `to_torch`, ignored by the module; a network's state_dict from
    before PyTorch 0.4.1 has none).
    Raises ConversionError, a ValueError: an unknown reference (closest ids), unknown or missing arguments, several
    copies of the weights or not the one that `ema` demands, and in one message all keys that are unused, missing,
    misshapen or not finite.

    >>> weights = {'weight': np.ones((2, 12 * 8 * 3 * 3), np.float32)}
    >>> arguments = {'in_channels': 8, 'out_channels': 12, 'kernel_size': 3, 'num_experts': 2}
    >>> layer, variables = from_torch('timm.CondConv2d', weights, arguments)
    >>> variables['params']['kernel'].shape
    (2, 3, 3, 8, 12)
    >>> layer.apply(variables, np.ones((1, 5, 5, 8)), np.ones((1, 2))).shape
    (1, 5, 5, 12)
    """
    converted = convert_checkpoint(
        reference,
        get_reference(reference),
        state_dict,
        arguments,
        ema=ema,
        dtype=dtype,
        param_dtype=param_dtype,
        temperature=temperature,
    )
    return converted.module, traverse_util.unflatten_dict(converted.leaves, sep='/')


def to_torch(
    reference: str, variables: Mapping[str, Any], arguments: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """The state_dict of the PyTorch module, as numpy arrays: `to_torch(from_torch(s)) == s`, bit for bit.

    Of a checkpoint it is the one that `from_torch` took, without wrappers and prefixes.

    Keys that a reference drops (`mmseg.resnet50_v1c`: the classifier `fc`) do not come back.
    Variables that were never in PyTorch (no `torch_buffers`) get `num_batches_tracked` = 0, and what else a module
    keeps that no module here reads (CondInst: the sizes of interest, a counter of steps); the temperature is in no
    state_dict and is left out. Gradients in the shape of `params` convert in the same way.
    Raises ConversionError listing all leaves that are unused, missing or misshapen.

    >>> arguments = {'in_channels': 8, 'out_channels': 12, 'kernel_size': 3, 'num_experts': 2}
    >>> to_torch('timm.CondConv2d', {'params': {'kernel': np.ones((2, 3, 3, 8, 12))}}, arguments)['weight'].shape
    (2, 864)
    """
    record = get_reference(reference)
    bound = record.signature.bind(reference, arguments)
    if isinstance(variables, Mapping):
        bound = inferred(record, bound, flatten(variables))
    table = RuleTable(record.rules(bound))
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), record.call(False), table)
    return leaves_to_state(variables, table, expected, record.buffers(bound))
