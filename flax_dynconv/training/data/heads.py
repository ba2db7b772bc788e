"""Image files below a folder: which there are, and their heads, without reading the pixels."""

import contextlib
import os
from pathlib import Path

from PIL import Image

from flax_dynconv.training.data.damage import damage_named


def files_below(path):
    """Paths of all files below the folder `path`, relative to it, with '/'; links are followed.

    Raises FileNotFoundError if there is no such folder, OSError for one that may not be read.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f'there is no folder {path}')
    files = []
    for folder, _, names in os.walk(path, followlinks=True, onerror=_refuse):
        files += [(Path(folder) / name).relative_to(path).as_posix() for name in names]
    return files


@contextlib.contextmanager
def opened(path, name):
    """The PIL image of a file, of which only the head is read; `UnreadableImage` with `name` if it is none."""
    with path.open('rb') as file:
        with damage_named(name, path.stat().st_size):
            image = Image.open(file)
        yield image


def _refuse(error):
    raise error
