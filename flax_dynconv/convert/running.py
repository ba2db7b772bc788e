"""One call of a Flax module on the inputs of a reference case."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.errors import FlaxError

from flax_dynconv.convert.activations import Recorder, recording
from flax_dynconv.convert.arrays import is_floating
from flax_dynconv.convert.cases import Case
from flax_dynconv.convert.errors import CaseError
from flax_dynconv.convert.layouts import to_flax
from flax_dynconv.convert.reference import BUFFERS, Reference


def run_case(
    module: nn.Module,
    variables: Mapping[str, Any],
    case: Case,
    reference: Reference,
    arguments: Mapping[str, Any],
    dtype: Any,
    wanted: set[str],
) -> tuple[list[np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """Outputs, activations of the modules `wanted` in the order of computation, and updated collections, as numpy.

    Floating inputs are cast to `dtype`. Raises CaseError if the module refuses the inputs.
    """
    layouts = reference.input_layouts(arguments)
    inputs = [
        jnp.asarray(to_flax(x, layout), dtype if is_floating(x) else None)
        for x, layout in zip(case.inputs, layouts, strict=True)
    ]
    for i, (x, shape, layout) in enumerate(zip(inputs, reference.example(arguments), layouts, strict=True)):
        # An array (B,) has no channels.
        if x.ndim != len(shape) or (x.ndim > 1 and x.shape[-1] != shape[-1]):
            raise CaseError(
                f'input/{i}: expected {len(shape)} dimensions ({layout}) and {shape[-1]} channels, '
                f'got shape {case.inputs[i].shape}'
            )
    order = []

    def call(variables, inputs):
        recorder = Recorder(wanted)
        mutable = ['batch_stats'] if case.train else False
        with recording(recorder):
            result = module.apply(variables, *inputs, **reference.call(case.train), mutable=mutable)
        outputs, updated = result if case.train else (result, {})
        # jit sorts dictionaries: the order is kept beside it.
        order.extend(recorder.outputs)
        return jax.tree.leaves(outputs), list(recorder.outputs.values()), updated

    arrays = {name: tree for name, tree in variables.items() if name != BUFFERS}
    try:
        result = jax.jit(call)(arrays, inputs)
    except (ValueError, TypeError, IndexError, NotImplementedError, FlaxError) as error:
        raise CaseError(f'the Flax module refused the inputs: {error}') from error
    outputs, recorded, updated = jax.device_get(result)
    return outputs, dict(zip(order, recorded, strict=True)), updated
