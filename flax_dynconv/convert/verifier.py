"""verify: run the Flax module on a reference case and compare everything with what PyTorch gave."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from flax_dynconv.convert.activations import ModuleNames, match_shape
from flax_dynconv.convert.api import get_reference
from flax_dynconv.convert.arrays import is_floating
from flax_dynconv.convert.cases import Case, load_case
from flax_dynconv.convert.conversion import convert_checkpoint
from flax_dynconv.convert.engine import flatten
from flax_dynconv.convert.errors import CaseError, ConversionError
from flax_dynconv.convert.layouts import to_flax
from flax_dynconv.convert.layouts import to_torch as to_channels_first
from flax_dynconv.convert.reference import BUFFERS
from flax_dynconv.convert.report import Report, compare
from flax_dynconv.convert.running import run_case

DTYPES = ('float32', 'float64', 'bfloat16')


def verify(case: Case | str | os.PathLike, *, tolerance: float = 1e-5, dtype: str = 'float32') -> Report:
    """Does the Flax module give what the PyTorch module gave?

    For each output, and for each buffer after a training-mode call: max|a - b| <= tolerance * max(1, max|b|), b the
    reference's. The multiplications are never below the precision of `dtype`, on accelerators too.

    case: a `Case`, or the path of one (.npz or .safetensors).
    dtype: of parameters and computation, 'float32', 'float64' (whatever `jax_enable_x64` says, and without changing
        it) or 'bfloat16' (float32 parameters).
    The temperature is the case's, else the constructor's argument `temperature`, else 1.0.

    Raises CaseError, a ValueError, for a case that cannot be used: an unreadable file, an unknown reference, arguments
    or weights that do not fit, inputs that the module refuses or that are not finite, outputs without elements,
    training mode with random dropout.

    >>> from flax_dynconv.convert import Case
    >>> bank, x, routing = np.ones((2, 4 * 3)), np.ones((1, 3, 5, 5)), np.full((1, 2), 0.5)
    >>> arguments = {'in_channels': 3, 'out_channels': 4, 'kernel_size': 1, 'num_experts': 2}
    >>> case = Case('timm.CondConv2d', arguments, {'weight': bank}, (x, routing), (np.full((1, 4, 5, 5), 3.0),))
    >>> verify(case, tolerance=1e-6).ok
    True
    """
    if dtype not in DTYPES:
        raise ValueError(f'dtype: expected one of {DTYPES}, got {dtype!r}')
    if not 0 <= tolerance < float('inf'):
        raise ValueError(f'tolerance: expected a number >= 0, got {tolerance!r}')
    name = 'the case'
    if not isinstance(case, Case):
        name = str(case)
        case = load_case(case)
    try:
        return _verify(case, tolerance, dtype)
    except ConversionError as error:
        raise CaseError(f'{name}: {error}') from error
    except CaseError as error:
        raise CaseError(f'{name}: {error}') from error


def _verify(case, tolerance, dtype):
    reference = get_reference(case.reference)
    arguments = reference.signature.bind(case.reference, case.arguments)
    temperature = arguments.get('temperature', 1.0) if case.temperature is None else case.temperature
    _check_training(case, reference, arguments)
    _check_arrays(case)
    if len(case.inputs) != len(layouts := reference.input_layouts(arguments)):
        raise CaseError(f'{case.reference} takes {len(layouts)} input(s), the case has {len(case.inputs)}')
    with jax.enable_x64(dtype == 'float64'), jax.default_matmul_precision('highest'):
        conversion = convert_checkpoint(
            case.reference,
            reference,
            case.state_dict,
            case.arguments,
            dtype=jnp.dtype(dtype),
            param_dtype=jnp.float64 if dtype == 'float64' else jnp.float32,
            temperature=temperature,
        )
        arguments, variables = conversion.arguments, traverse_util.unflatten_dict(conversion.leaves, sep='/')
        names = ModuleNames(reference, arguments)
        found = {name: names.find(name) for name in case.activations}
        wanted = {path for path, _ in filter(None, found.values())}
        outputs, recorded, updated = run_case(
            conversion.module, variables, case, reference, arguments, jnp.dtype(dtype), wanted
        )
    if not max(1, len(outputs) - reference.optional_outputs) <= len(case.outputs) <= len(outputs):
        raise CaseError(f'{case.reference} returns {len(outputs)} output(s), the case has {len(case.outputs)}')
    layouts = reference.outputs[: len(case.outputs)]
    return Report(
        reference=case.reference,
        dtype=dtype,
        tolerance=tolerance,
        train=case.train,
        temperature=float(temperature),
        outputs=tuple(
            compare(f'output/{i}', to_channels_first(a, layout), b, tolerance)
            for i, (a, b, layout) in enumerate(zip(outputs[: len(layouts)], case.outputs, layouts, strict=True))
        ),
        state_after=_compare_state(case, reference.table(arguments), conversion, variables, updated, tolerance),
        activations=_compare_activations(case, found, recorded, tolerance),
        skipped=tuple(name for name, target in found.items() if target is None or target[0] not in recorded),
    )


def _check_training(case, reference, arguments):
    for name in reference.dropout:
        if case.train and arguments[name]:
            raise CaseError(
                f'training mode with {name}={arguments[name]}: random dropout in PyTorch cannot be reproduced; save '
                f'the case with {name}=0'
            )


def _check_arrays(case):
    """Nothing to compare is within every bound, and what is not finite shows no difference."""
    for i, x in enumerate(case.inputs):
        if is_floating(x) and (bad := int(x.size - np.isfinite(x).sum())):
            raise CaseError(f'input/{i}: {bad} of {x.size} values are NaN or infinite')
    for i, y in enumerate(case.outputs):
        if not y.size:
            raise CaseError(f'output/{i}: shape {y.shape} has no elements, nothing can be compared')


def _compare_state(case, table, conversion, before, updated, tolerance):
    """Buffers after the call; the counter of batches went up by one in each norm that a training-mode call ran."""
    if not case.state_after:
        return ()
    old, leaves, prefix = flatten(before), flatten(before | updated), conversion.source.prefix
    counters = [path for path in leaves if path.startswith(f'{BUFFERS}/') and path.endswith('/num_batches_tracked')]
    for path in counters if case.train else ():
        leaves[path] = leaves[path] + _ran(path, old, leaves)
    found = {key: table.to_flax(key.removeprefix(prefix)) for key in case.state_after}
    unknown = [key for key, target in found.items() if target is None or target[0] not in leaves]
    if unknown:
        raise CaseError(f'state_after has keys that the state_dict does not have: {unknown}')
    return tuple(
        compare(f'state_after/{key}', transform.to_torch(np.asarray(leaves[path])), case.state_after[key], tolerance)
        for key, (path, transform) in found.items()
    )


def _ran(counter, before, after):
    """Whether the norm of a counter saw the batch: a head that only a loss calls does not."""
    norm = counter.removeprefix(f'{BUFFERS}/').rpartition('/')[0]
    statistics = [f'batch_stats/{norm}/{name}' for name in ('mean', 'var')]
    return any(not np.array_equal(before[path], after[path]) for path in statistics)


def _compare_activations(case, found, recorded, tolerance):
    order = {path: i for i, path in enumerate(recorded)}
    rows = []
    for name, target in found.items():
        if target is None or target[0] not in recorded:
            continue
        path, rule = target
        expected = to_flax(np.asarray(case.activations[name]), rule.layout)
        actual: Any = recorded[path]
        if rule.then is not None:
            with jax.enable_x64(True):  # or float64 would be rounded
                actual = np.asarray(rule.then(actual))
        rows.append(
            (order[path], compare(f'activation/{name}', actual, match_shape(expected, actual.shape), tolerance))
        )
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))
