"""PyTorch's own files, `.pth` and the like: tensors and plain values, never code."""

import argparse
import contextlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from flax_dynconv.convert.arrays import as_numpy
from flax_dynconv.convert.case_files import require_file
from flax_dynconv.convert.errors import CaseError

SUFFIXES = ('.pth', '.pth.tar', '.pt', '.bin', '.ckpt')


def read_checkpoint(path: Path) -> Any:
    """What `torch.load(weights_only=True)` gives, its tensors as numpy arrays.

    Raises ImportError, with another way, where torch is missing; CaseError for files that are missing, damaged or hold
    anything but tensors, numbers, text and tables of them (settings in an `argparse.Namespace` are taken as values).
    """
    require_file(path)
    torch = _torch(
        path,
        'Where it is, convert the file once: python -c "import torch, safetensors.torch as s; '
        f"s.save_file(torch.load('{path.name}', weights_only=True), '{_stem(path)}.safetensors')\" "
        "(a checkpoint: torch.load(...)['state_dict'])",
    )
    try:
        with _plain_values(torch):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    # Damaged pickles raise whatever their bytes happen to say.
    except Exception as error:
        raise CaseError(f'{path}: {_reason(path, str(error) or type(error).__name__)}') from error
    return _as_arrays(checkpoint)


def write_state_dict(path: Path, arrays: Mapping[str, Any]) -> None:
    """A dict of tensors as `torch.save(module.state_dict(), path)` writes it. ImportError where torch is missing."""
    torch = _torch(path, f'Write {_stem(path)}.safetensors instead, which PyTorch users read with safetensors')
    torch.save({key: _tensor(torch, as_numpy(array)) for key, array in arrays.items()}, path)


def suffix(path: Path) -> str:
    """The suffix that names the format: scripts for ImageNet call their checkpoints `.pth.tar`, which are no archives.

    >>> suffix(Path('model_best.pth.tar')), suffix(Path('data.tar'))
    ('.pth.tar', '.tar')
    """
    return '.pth.tar' if path.name.endswith('.pth.tar') else path.suffix


def _stem(path):
    return path.name.removesuffix(suffix(path))


def _torch(path, advice):
    try:
        import torch
    except ImportError as error:
        raise ImportError(f'{path}: {suffix(path)} files need torch, which is not installed. {advice}') from error
    return torch


def _plain_values(torch):
    """Besides what PyTorch allows: settings and numpy's numbers, which training scripts save beside the weights."""
    allow = getattr(torch.serialization, 'safe_globals', None)
    if allow is None:
        return contextlib.nullcontext()
    # The function is the same under the names of numpy 1 and 2.
    scalar = np.float64(0).__reduce__()[0]
    names = [(scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')]
    kinds = [type(np.dtype(code)) for code in 'fdilqBbhH?']
    return allow([argparse.Namespace, np.dtype, *names, *dict.fromkeys(kinds)])


def _reason(path, text):
    if found := re.search(r'Unsupported (?:global: GLOBAL|class) (\S+)', text):
        # Old files are bare pickles: where one is cut off, so is the name.
        doubt = '' if zipfile.is_zipfile(path) else 'truncated, or '
        return (
            f'{doubt}holds more than weights ({found.group(1)}), which is refused, since loading it could run code: '
            'save the state_dict alone, torch.save(module.state_dict(), path)'
        )
    if 'TorchScript' in text:
        return 'a TorchScript archive, which is a program and refused: save its state_dict()'
    if 'Weights only load failed' in text:
        return 'truncated or damaged, or a pickle that is no file of weights (refused)'
    return f'truncated or damaged: {text.splitlines()[0]}'


def _as_arrays(value):
    if isinstance(value, Mapping):
        return {name: _as_arrays(entry) for name, entry in value.items()}
    if not hasattr(value, 'detach'):
        return value
    try:
        return as_numpy(value)
    except (TypeError, RuntimeError, ValueError):
        # A quantised, sparse or complex tensor: of no concern unless it is one of the weights, which is said there.
        return value


def _tensor(torch, array):
    array = np.array(array, order='C')
    if array.dtype == jnp.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
