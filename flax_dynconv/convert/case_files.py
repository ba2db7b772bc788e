"""Named arrays in .npz and .safetensors, for reference cases with one string; read without executing anything."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from flax_dynconv.convert.arrays import as_numpy
from flax_dynconv.convert.errors import CaseError

SUFFIXES = ('.npz', '.safetensors')

# What numpy, zipfile and safetensors raise for files that are cut off, altered, encrypted or claim absurd sizes.
_DAMAGED = (
    *(OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, SyntaxError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, SafetensorError),
)


def write_arrays(path: Path, arrays: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Write arrays and texts: 0-d string arrays in .npz, header metadata in .safetensors.

    Raises CaseError for a suffix other than these.
    """
    check_suffix(path)
    arrays = {name: np.array(as_numpy(array), order='C') for name, array in arrays.items()}
    if path.suffix == '.npz':
        # .npy has no bfloat16: float32 holds the same values.
        arrays = {k: a.astype(np.float32) if a.dtype == jnp.bfloat16 else a for k, a in arrays.items()}
        np.savez(path, **arrays, **{name: np.array(text) for name, text in texts.items()})
    else:
        save_file(arrays, path, metadata=dict(texts))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """All arrays and the string `meta`, or None where there is none.

    `meta` is an array of one string or of its UTF-8 bytes as uint8; in .safetensors also the header's metadata.
    Raises CaseError for a file that is missing, truncated, of another format, or that holds pickled objects.
    """
    arrays, header = read_named(path)
    meta = header.get('meta')
    if 'meta' in arrays:
        meta = _as_text(path, arrays.pop('meta'))
    check_numbers(path, arrays)
    return arrays, meta


def read_named(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All arrays and the header. Raises CaseError as `read_arrays` does."""
    check_suffix(path)
    require_file(path)
    try:
        return _read_npz(path) if path.suffix == '.npz' else _read_safetensors(path)
    except CaseError:
        raise
    except _DAMAGED as error:
        raise CaseError(f'{path}: truncated or damaged: {error}') from error


def check_numbers(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise CaseError for an array that does not hold numbers."""
    for name, array in arrays.items():
        try:
            as_numpy(array)
        except TypeError as error:
            raise CaseError(f'{path}: {name!r}: {error}') from error


def require_file(path: Path) -> None:
    """Raise CaseError for a path that is a directory or nothing at all."""
    if path.is_dir():
        raise CaseError(f'{path}: is a directory, expected a file')
    if not path.is_file():
        raise CaseError(f'{path}: no such file')


def check_suffix(path: Path) -> None:
    """Raise CaseError for a suffix that is neither .npz nor .safetensors."""
    if path.suffix not in SUFFIXES:
        raise CaseError(f'{path}: expected a file with the suffix {" or ".join(SUFFIXES)}')


def _read_npz(path):
    # numpy would take a lone .npy or a pickle for what it is: a reference case is a zip archive and nothing else.
    if not zipfile.is_zipfile(path):
        raise CaseError(f'{path}: no .npz archive: truncated, or another format (pickles are refused)')
    with np.load(path, allow_pickle=False) as archive:
        return {name: _read_member(path, archive, name) for name in archive.files}, {}


def _read_member(path, archive, name):
    try:
        array = archive[name]
    except ValueError as error:
        if 'allow_pickle' in str(error):
            raise CaseError(f'{path}: {name!r} holds pickled objects, which are refused') from error
        raise
    if not isinstance(array, np.ndarray):
        raise CaseError(f'{path}: {name!r} is not an array')
    return array


def _read_safetensors(path):
    with safe_open(path, framework='np') as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return arrays, file.metadata() or {}


def _as_text(path, array):
    text = array.tobytes() if array.dtype == np.uint8 else array.item() if array.size == 1 else None
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        try:
            return text.decode('utf-8')
        except UnicodeDecodeError as error:
            raise CaseError(f"{path}: 'meta' is no UTF-8 text: {error}") from error
    raise CaseError(f"{path}: 'meta' must be one string, got an array of dtype {array.dtype} and shape {array.shape}")
