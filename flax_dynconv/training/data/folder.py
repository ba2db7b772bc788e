"""Images in folders: train/CLASS/IMAGE and val/CLASS/IMAGE."""

import os
from pathlib import Path

from flax_dynconv.training.data.listing import arrange
from flax_dynconv.training.data.source import check_split


class Folder:
    """A `Source` of the image files below `path`; links are followed. See `listing.arrange` for layout and errors.

    Raises FileNotFoundError if there is no such folder, OSError for one that may not be read.
    """

    splits = ('train', 'test')

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f'there is no folder {self.path}')
        files, folders = [], []
        for folder, inner, names in os.walk(self.path, followlinks=True, onerror=_refuse):
            below = Path(folder).relative_to(self.path).as_posix()
            start = '' if below == '.' else f'{below}/'
            files += [start + name for name in names]
            folders += [start + name for name in inner]
        self.listing = arrange(files, folders, f'the folder {self.path}')
        self.classes = self.listing.classes

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.listing.paths[split])

    def read(self, split, index):
        """(bytes of the file, label, path below the folder)."""
        path = self.listing.paths[split][index]
        return (self.path / path).read_bytes(), int(self.listing.labels[split][index]), path


def _refuse(error):
    raise error
