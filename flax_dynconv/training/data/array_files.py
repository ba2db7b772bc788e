"""Arrays of .npy and .npz files, refused with the file's name where they are not what is expected."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

SUFFIXES = ('.npy', '.npz')


def read_arrays(path):
    """{name: array} of an .npz, or {'': array} of an .npy, which is read from the disk as it is used.

    Raises FileNotFoundError, and ValueError for a file that is damaged, of another format, or holds Python objects
    or other files.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path}')
    try:
        # A map of the file for .npy; the members of an .npz are read as a whole.
        loaded = np.load(path, mmap_mode='r', allow_pickle=False)
        arrays = {'': loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f'{path} cannot be read as {path.suffix or "an array"}: {error}') from error
    if not arrays:
        raise ValueError(f'{path} holds no array')
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of what is no .npy.
            raise ValueError(f'{path} must hold arrays alone, got the member {name!r}, which is no .npy')
    return arrays


def where(path, name):
    """An array of a file for a message.

    >>> where('x.npz', 'train'), where('x.npy', '')
    ("x.npz, array 'train'", 'x.npy')
    """
    return f"{path}, array '{name}'" if name else str(path)


def check_pixels(array, rank, where, axes):
    """ValueError unless the array has that rank, a dtype of images, and floats from 0 to 1; looks at every float.

    >>> check_pixels(np.zeros((2, 3), np.uint8), 2, 'x.npy', '(height, width)')
    """
    if array.ndim != rank or not array.size:
        raise ValueError(f'{where} must be {axes}, none of them empty, got the shape {array.shape}')
    if array.dtype in (np.uint8, np.bool_):
        return
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f'{where} must be uint8, bool or floats, got {array.dtype}')
    low, high = (function([function(part) for part in array]) for function in (np.min, np.max))
    if not 0 <= low <= high <= 1:  # NaN too
        raise ValueError(f'{where} must have floats from 0 to 1, got {low} to {high}')


def scaled(pixels):
    """As float32 from 0 to 1: uint8 are divided by 255.

    >>> scaled(np.array([0, 255], np.uint8)).tolist()
    [0.0, 1.0]
    """
    return np.asarray(pixels, np.float32) / np.float32(255 if pixels.dtype == np.uint8 else 1)


def held_out(array, count, where):
    """{'train', 'test'} of an array without a test set: its last `count` rows are held out; ValueError for too few."""
    if len(array) <= count:
        raise ValueError(f'{where} must have more than test_examples = {count} examples, got {len(array)}')
    return {'train': array[:-count], 'test': array[-count:]}


def by_split(arrays, count, where):
    """{'train', 'test'} of the arrays of a file: those of these names, or parts of its only array."""
    if len(arrays) == 1:
        return held_out(next(iter(arrays.values())), count, where)
    if not {'train', 'test'} <= arrays.keys():
        raise ValueError(f"{where} must hold one array, or 'train' and 'test', got {sorted(arrays)}")
    return {split: arrays[split] for split in ('train', 'test')}
