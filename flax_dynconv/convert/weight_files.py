"""Files of weights: PyTorch's tables and Flax's variables, in .safetensors, .npz or PyTorch's own format."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import traverse_util

from flax_dynconv.convert import case_files, torch_files
from flax_dynconv.convert.engine import flatten
from flax_dynconv.convert.errors import CaseError

SUFFIXES = ('.safetensors', '.npz', *torch_files.SUFFIXES)


def load_weights(path: str | os.PathLike) -> dict[str, Any]:
    """The table in a file, by its suffix: .safetensors, .npz, or where torch is .pth, .pth.tar, .pt, .bin and .ckpt.

    Arrays are numpy's, in the dtypes of the file (bfloat16 too, which .npz has not); PyTorch's own files may hold
    tables in tables, for `from_torch` to unwrap. Nothing in a file is ever executed.
    Raises CaseError, a ValueError that names the file: missing, damaged, another suffix, more than plain values in it;
    ImportError for PyTorch's own files where torch is missing.

    >>> import tempfile
    >>> import numpy as np
    >>> path = Path(tempfile.mkdtemp()) / 'weights.safetensors'
    >>> save_weights(path, {'weight': np.ones((2, 3), np.float32)})
    >>> load_weights(path)['weight'].shape
    (2, 3)
    """
    path = Path(path)
    check_suffix(path)
    if torch_files.suffix(path) in torch_files.SUFFIXES:
        table = torch_files.read_checkpoint(path)
        if not isinstance(table, Mapping):
            raise CaseError(f'{path}: expected a table of names and tensors, got {type(table).__name__}')
        return dict(table)
    arrays, _ = case_files.read_named(path)
    case_files.check_numbers(path, arrays)
    return arrays


def save_weights(path: str | os.PathLike, arrays: Mapping[str, Any], *, framework: str = 'pt') -> None:
    """Write a state_dict of numpy arrays, JAX arrays or tensors; the suffix chooses the format.

    PyTorch's own formats become an ordinary dict of tensors. .npz has no bfloat16: there it is written as float32.
    framework: the entry `format` of a .safetensors header, 'pt' for PyTorch's keys and 'flax' for Flax's.
    Raises CaseError for another suffix and TypeError for what is no array of numbers.
    """
    path = Path(path)
    check_suffix(path)
    if torch_files.suffix(path) in torch_files.SUFFIXES:
        torch_files.write_state_dict(path, arrays)
    else:
        case_files.write_arrays(path, arrays, {'format': framework} if path.suffix == '.safetensors' else {})


def load_variables(path: str | os.PathLike) -> dict[str, Any]:
    """The variables of a Flax module from a file of `save_variables`: nested, {'params': ..., 'batch_stats': ...}.

    Raises CaseError as `load_weights` does, and for a file that holds no Flax variables.
    """
    return nested(path, load_weights(path))


def save_variables(path: str | os.PathLike, variables: Mapping[str, Any]) -> None:
    """Write the variables of a Flax module as arrays named 'params/conv1/kernel', 'batch_stats/bn1/mean', ...

    Formats and errors are those of `save_weights`.

    >>> import tempfile
    >>> import numpy as np
    >>> path = Path(tempfile.mkdtemp()) / 'variables.npz'
    >>> save_variables(path, {'params': {'fc': {'kernel': np.ones((4, 3))}}})
    >>> load_variables(path)['params']['fc']['kernel'].shape
    (4, 3)
    """
    save_weights(path, flatten(variables), framework='flax')


def is_flax(table: Mapping[str, Any]) -> bool:
    """Are these Flax variables, keys like 'params/fc/kernel', and not a PyTorch checkpoint?"""
    return any(isinstance(name, str) and name.startswith('params/') for name in table)


def nested(path: str | os.PathLike, table: Mapping[str, Any]) -> dict[str, Any]:
    """{'params/fc/kernel': array} as nested variables; CaseError, with the file's name, if they are none."""
    if not is_flax(table):
        raise CaseError(f"{path}: no arrays named params/...; PyTorch's weights need from_torch or load_pretrained")
    alone = [name for name in table if not isinstance(name, str) or '' in name.split('/') or '/' not in name]
    tables = {name[:end] for name in table if isinstance(name, str) for end in range(len(name)) if name[end] == '/'}
    if wrong := alone + [name for name in table if name in tables]:
        raise CaseError(f'{path}: names that are no Flax variables: {wrong[:5]}')
    return traverse_util.unflatten_dict(dict(table), sep='/')


def check_suffix(path: Path) -> None:
    """Raise CaseError for a suffix that no format of weights has."""
    if torch_files.suffix(path) not in SUFFIXES:
        raise CaseError(f'{path}: expected a file with the suffix {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]}')
