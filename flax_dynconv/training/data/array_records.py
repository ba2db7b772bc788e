"""Images in ArrayRecord files: written once, then read in any order from few large files.

A folder holds `dataset.json` and one or more files for each split. `dataset.json` is
`{"format": "flax_dynconv images 1", "classes": [names], "splits": {"train": {file: records}, "test": ...}}`. A record
is the label (4 bytes), the length of the name (4 bytes), both unsigned with the lowest byte first, the name in UTF-8,
and the image file as it is.
"""

import json
import os
import struct
from pathlib import Path

from flax_dynconv.training.data.source import UnreadableImage, check_split
from flax_dynconv.training.extras import require

CONTENTS = 'dataset.json'
FORMAT = 'flax_dynconv images 1'
_HEAD = struct.Struct('<II')


class ArrayRecords:
    """A `Source` of the images that `write_array_records` wrote into the folder `path`.

    Raises FileNotFoundError for a folder without `dataset.json`, ValueError for one of another format and for files
    that are missing, damaged or of another length than it says, ImportError without the package array_record.
    """

    splits = ('train', 'test')

    def __init__(self, path):
        self.path = Path(path)
        if not (self.path / CONTENTS).is_file():
            raise FileNotFoundError(f'there is no {CONTENTS} in {self.path}: `write_array_records` writes it')
        try:
            contents = json.loads((self.path / CONTENTS).read_text())
            if contents['format'] != FORMAT:
                raise ValueError(f'its format is {contents["format"]!r}')
            self.classes = tuple(contents['classes'])
            files = {split: dict(contents['splits'][split]) for split in self.splits}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{self.path / CONTENTS} must have the format {FORMAT!r}, but: {error!r}') from error
        self.records = {split: self._open(sizes) for split, sizes in files.items()}

    def _open(self, sizes):
        module = require('array_record.python.array_record_data_source', 'reads ArrayRecord files')
        for name, size in sizes.items():
            try:
                found = len(module.ArrayRecordDataSource([self.path / name]))
            except RuntimeError as error:
                raise ValueError(f'{self.path / name} is missing or damaged: {error}') from error
            if found != size:
                raise ValueError(f'{self.path / name} must have {size} records, as {CONTENTS} says, got {found}')
        return module.ArrayRecordDataSource([self.path / name for name in sizes])

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.records[split])

    def read(self, split, index):
        """(bytes of the image file, label, name)."""
        try:
            record = self.records[split].__getitems__([int(index)])[0]
            label, length = _HEAD.unpack_from(record)
            name = record[_HEAD.size : _HEAD.size + length].decode()
        except (RuntimeError, ValueError, struct.error) as error:
            name = f'record {index} of {split} in {self.path}'
            raise UnreadableImage(name, f'the record is damaged ({error})') from error
        if label >= len(self.classes):
            raise UnreadableImage(name, f'its label must be from 0 to {len(self.classes) - 1}, got {label}')
        return record[_HEAD.size + length :], label, name


def write_array_records(source, path, images_per_file=8192):
    """Write all images of `source`, any `Source` that gives bytes, into the new folder `path`, in its order.

    `dataset.json` is written last: a folder without it is incomplete. Raises FileExistsError if the folder exists,
    ValueError for images_per_file < 1, TypeError for a source of images that are already decoded.

    >>> import tempfile
    >>> from flax_dynconv.training.data.folder import Folder
    >>> with tempfile.TemporaryDirectory() as base:
    ...     for split in ('train', 'val'):
    ...         os.makedirs(f'{base}/images/{split}/cat')
    ...         _ = Path(f'{base}/images/{split}/cat/1.png').write_bytes(b'an image file')
    ...     write_array_records(Folder(f'{base}/images'), f'{base}/records')
    ...     ArrayRecords(f'{base}/records').read('test', 0)
    (b'an image file', 0, 'val/cat/1.png')

    Source: the file format is https://github.com/google/array_record.
    """
    if images_per_file < 1:
        raise ValueError(f'images_per_file must be >= 1, got {images_per_file}')
    module = require('array_record.python.array_record_module', 'writes ArrayRecord files')
    path = Path(path)
    path.mkdir(parents=True)
    splits = {}
    for split in ArrayRecords.splits:
        size = source.size(split)
        starts = range(0, size, images_per_file)
        splits[split] = {}
        for number, start in enumerate(starts):
            name = f'{split}-{number:05d}-of-{len(starts):05d}.array_record'
            # Groups of one record: images are read one at a time. They are compressed already.
            writer = module.ArrayRecordWriter(str(path / name), 'group_size:1,uncompressed')
            for index in range(start, min(start + images_per_file, size)):
                writer.write(_record(*source.read(split, index)))
            writer.close()
            splits[split][name] = min(images_per_file, size - start)
    contents = {'format': FORMAT, 'classes': list(source.classes), 'splits': splits}
    unfinished = path / f'{CONTENTS}.unfinished'
    unfinished.write_text(json.dumps(contents, indent=1))
    os.replace(unfinished, path / CONTENTS)


def _record(data, label, name):
    if not isinstance(data, bytes):
        raise TypeError(f'the source must give the bytes of image files, got {type(data).__name__} for {name}')
    encoded = name.encode()
    return _HEAD.pack(label, len(encoded)) + encoded + data
