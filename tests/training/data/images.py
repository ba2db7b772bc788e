"""A small set of images in every form: as files by path, in folders, archives and records."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

CLASSES = ('ant', 'bee', 'cow')
SIZES = {'train': (5, 4, 4), 'val': (3, 2, 2)}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return file.getvalue()


def files(top=''):
    """{path: bytes}: 13 training and 7 test images of noise, of several sizes, each unlike all others."""
    generator, made = np.random.default_rng(0), {}
    for split, sizes in SIZES.items():
        for name, size in zip(CLASSES, sizes, strict=True):
            for number in range(size):
                shape = (12 + number, 10 + 2 * number, 3)
                made[f'{top}{split}/{name}/{number}.png'] = png(generator.integers(0, 256, shape, np.uint8))
    return made


def write_folder(path, contents):
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path, contents, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def write_tar(path, contents, mode='w'):
    with tarfile.open(path, mode) as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


class Memory:
    """A source of images in memory, from {path: bytes}."""

    splits, classes = ('train', 'test'), CLASSES

    def __init__(self, contents):
        self.rows = {
            split: sorted((name, data) for name, data in contents.items() if name.startswith(start))
            for split, start in (('train', 'train/'), ('test', 'val/'))
        }

    def size(self, split):
        return len(self.rows[split])

    def read(self, split, index):
        name, data = self.rows[split][index]
        return data, CLASSES.index(name.split('/')[1]), name


def whole(source):
    """Everything that a source gives: [(bytes, label)] of each split."""
    return {split: [source.read(split, i)[:2] for i in range(source.size(split))] for split in ('train', 'test')}
