"""What zip and tar archives of image folders have in common: names that must not lead out, and places of the images."""

import re
from typing import NamedTuple

import numpy as np

from flax_dynconv.training.data.file_parts import FileParts
from flax_dynconv.training.data.listing import arrange
from flax_dynconv.training.data.source import check_split

_OUTWARD = re.compile(r'^/|\\|^[A-Za-z]:|(^|/)\.\.(/|$)|\0')


class Entries(NamedTuple):
    """Files of an archive by name, each with numbers that say where it is; and its folders."""

    files: dict[str, tuple[int, ...]]
    folders: set[str]

    def add(self, name, numbers, where):
        """A file, or a folder if `numbers` is None; ValueError for a name that leads out of the archive or is twice."""
        if _OUTWARD.search(name):
            raise ValueError(f'{where} is refused: its entry {name!r} leads out of the archive')
        name = '/'.join(part for part in name.split('/') if part not in ('', '.'))
        if numbers is None:
            self.folders.add(name)
        elif name in self.files:
            raise ValueError(f'{where} is refused: its entry {name!r} is there twice')
        else:
            self.files[name] = numbers


class Archive:
    """A `Source` of the images in the archive at `path`, read in place; a subclass says how an entry is read.

    `entries` are those of the whole archive. Nothing is extracted. See `listing.arrange` for layout and errors.
    """

    splits = ('train', 'test')

    def __init__(self, path, entries, where):
        self.listing = arrange(entries.files, entries.folders - {''}, where)
        self.classes = self.listing.classes
        # Arrays and not the entries: there may be a million, and reader processes get a copy.
        self.places = {
            split: np.array([entries.files[path] for path in paths], np.int64)
            for split, paths in self.listing.paths.items()
        }
        self.file = FileParts(path)

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.listing.paths[split])

    def read(self, split, index):
        """(bytes of the entry, label, path in the archive); `UnreadableImage` if the entry is damaged."""
        name = self.listing.paths[split][index]
        data = self.entry(name, *(int(number) for number in self.places[split][index]))
        return data, int(self.listing.labels[split][index]), name
