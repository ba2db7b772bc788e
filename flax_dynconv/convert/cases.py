"""Reference cases: one .npz or .safetensors file with a PyTorch module's weights, inputs and outputs."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flax_dynconv.convert.arrays import is_floating
from flax_dynconv.convert.case_files import read_arrays, write_arrays
from flax_dynconv.convert.errors import CaseError
from flax_dynconv.convert.references import REFERENCES

_SECTIONS = ('state_dict', 'input', 'output', 'state_after', 'activation')


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """Weights, inputs and outputs of one call of a PyTorch module, arrays as PyTorch saw them.

    reference: an id such as 'odconv.ODConv2d'. arguments: the PyTorch constructor's own names, a flat JSON table.
    state_dict, inputs, outputs: what went in and what came out, outputs flattened.
    temperature: the attention's at this call, None for `arguments['temperature']` or 1.0.
    train: a training-mode call; state_after: buffers after it. activations: outputs of submodules by their name.
    """

    reference: str
    arguments: Mapping[str, Any]
    state_dict: Mapping[str, np.ndarray]
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    temperature: float | None = None
    train: bool = False
    state_after: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    activations: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def save_case(path: str | os.PathLike, case: Case) -> None:
    """Write a reference case; the suffix, .npz or .safetensors, chooses the format.

    Arrays: `state_dict/<key>`, `input/0`.., `output/0`.., `state_after/<key>`, `activation/<module>`; `meta` is a JSON
    string (a 0-d string array in .npz, header metadata in .safetensors).
    Raises CaseError for another suffix or for arguments that JSON cannot hold.
    """
    arrays = {f'state_dict/{key}': array for key, array in case.state_dict.items()}
    arrays |= {f'input/{i}': array for i, array in enumerate(case.inputs)}
    arrays |= {f'output/{i}': array for i, array in enumerate(case.outputs)}
    arrays |= {f'state_after/{key}': array for key, array in case.state_after.items()}
    arrays |= {f'activation/{name}': array for name, array in case.activations.items()}
    meta = {
        'reference': case.reference,
        'arguments': dict(case.arguments),
        'temperature': case.temperature,
        'train': case.train,
    }
    try:
        text = json.dumps(meta)
    except TypeError as error:
        raise CaseError(f'{path}: arguments must be a flat JSON table: {error}') from error
    write_arrays(Path(path), arrays, {'meta': text})


def load_case(path: str | os.PathLike) -> Case:
    """Read a reference case; nothing in the file is ever executed.

    Raises CaseError, a ValueError that names the file: missing, truncated or of another format, pickles and object
    arrays, no `meta` or an unusable one, names that mean nothing, no weights (of a module that has some), inputs or
    outputs, outputs not finite.

    >>> import tempfile
    >>> ones = np.ones((1, 8, 5, 5), np.float32)
    >>> case = Case('timm.CondConv2d', {'num_experts': 2}, {'weight': ones}, (ones,), (ones,))
    >>> path = Path(tempfile.mkdtemp()) / 'case.npz'
    >>> save_case(path, case)
    >>> load_case(path).reference
    'timm.CondConv2d'
    """
    path = Path(path)
    arrays, text = read_arrays(path)
    sections = {name: {} for name in _SECTIONS}
    unknown = []
    for name, array in arrays.items():
        section, _, key = name.partition('/')
        if section not in sections or not key:
            unknown.append(name)
        else:
            sections[section][key] = array
    if unknown:
        expected = ', '.join(f'{name}/...' for name in _SECTIONS)
        raise CaseError(f'{path}: unknown arrays {unknown}; expected {expected} and meta')
    meta = _meta(path, text)
    weightless = meta['reference'] in REFERENCES and REFERENCES[meta['reference']].weightless
    needed = ('input', 'output') if weightless else ('state_dict', 'input', 'output')
    if absent := [name for name in needed if not sections[name]]:
        raise CaseError(f'{path}: no arrays named ' + ' or '.join(f'{name}/...' for name in absent))
    case = Case(
        **meta,
        state_dict=sections['state_dict'],
        inputs=_in_order(path, 'input', sections['input']),
        outputs=_in_order(path, 'output', sections['output']),
        state_after=sections['state_after'],
        activations=sections['activation'],
    )
    for i, array in enumerate(case.outputs):
        if is_floating(array) and not np.isfinite(array).all():
            raise CaseError(
                f'{path}: output/{i} has values that are NaN or infinite: nothing can be compared with them'
            )
    return case


def _in_order(path, section, arrays):
    wrong = [name for name in arrays if not re.fullmatch(r'0|[1-9]\d*', name)]
    missing = [i for i in range(len(arrays)) if str(i) not in arrays]
    if wrong or missing:
        names = sorted(f'{section}/{name}' for name in arrays)
        raise CaseError(f'{path}: expected {section}/0 to {section}/{len(arrays) - 1}, got {names}')
    return tuple(arrays[str(i)] for i in range(len(arrays)))


def _meta(path, text):
    if text is None:
        raise CaseError(f"{path}: no 'meta': expected a JSON string with reference, arguments, temperature and train")
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{path}: 'meta' is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise CaseError(f"{path}: 'meta' must be a JSON object, got {meta!r}")
    reference, arguments = meta.get('reference'), meta.get('arguments', {})
    temperature, train = meta.get('temperature'), meta.get('train', False)
    if not isinstance(reference, str):
        raise CaseError(f"{path}: meta['reference'] must be a string, got {reference!r}")
    if not isinstance(arguments, dict) or any(isinstance(value, dict) for value in arguments.values()):
        raise CaseError(f"{path}: meta['arguments'] must be a flat table, got {arguments!r}")
    if temperature is not None and not _positive(temperature):
        raise CaseError(f"{path}: meta['temperature'] must be a number > 0 or null, got {temperature!r}")
    if not isinstance(train, bool):
        raise CaseError(f"{path}: meta['train'] must be true or false, got {train!r}")
    return {'reference': reference, 'arguments': arguments, 'temperature': temperature, 'train': train}


def _positive(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float('inf')
