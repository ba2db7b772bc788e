"""Images of idx files, the format of MNIST, compressed by gzip or not."""

import gzip
import zlib
from pathlib import Path

import numpy as np

_GZIP = b'\x1f\x8b'
_UINT8_OF_RANK_3 = b'\0\0\x08\x03'
_HEADER = 16


def read_idx_images(path):
    """The images of an idx file: uint8 (N, H, W); ValueError, with the file's name, for what is none or is damaged.

    Source: LeCun, Cortes, Burges, "The MNIST database": two zero bytes, 8 for uint8, the rank, then the lengths of the
    axes as 4 bytes each, highest first, and the pixels row by row.
    """
    data = Path(path).read_bytes()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f'{path} is a damaged gzip file: {error}') from error
    if len(data) < _HEADER or data[:4] != _UINT8_OF_RANK_3:
        raise ValueError(
            f'{path} must be an idx file of images, which begins with the bytes {_UINT8_OF_RANK_3.hex(" ")}, '
            f'got {data[:4].hex(" ")}'
        )
    shape = tuple(np.frombuffer(data, '>u4', 3, 4).tolist())
    if len(data) != _HEADER + shape[0] * shape[1] * shape[2] or 0 in shape:
        raise ValueError(f'{path} must hold {shape} pixels after its header, got {len(data) - _HEADER}')
    return np.frombuffer(data, np.uint8, offset=_HEADER).reshape(shape)


def find_idx_images(folder):
    """{'train', 'test'} of the idx files of images in a folder, by MNIST's names; one may be missing.

    >>> find_idx_images('.')
    Traceback (most recent call last):
      ...
    FileNotFoundError: . must hold idx files of images called train-images* or t10k-images*, got none
    """
    found = {}
    for path in sorted(Path(folder).iterdir()):
        for start, split in (('train-images', 'train'), ('t10k-images', 'test')):
            # The file that is not compressed comes first, should both be there.
            if path.name.startswith(start) and path.is_file():
                found.setdefault(split, path)
    if not found:
        raise FileNotFoundError(
            f'{folder} must hold idx files of images called train-images* or t10k-images*, got none'
        )
    return found
