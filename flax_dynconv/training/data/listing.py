"""The layout train/CLASS/IMAGE and val/CLASS/IMAGE, read off the names of the files, wherever they lie."""

import warnings
from typing import NamedTuple

import numpy as np

from flax_dynconv.training.data.source import TEST_NAMES, shortened

ENDINGS = ('.jpg', '.jpeg', '.png', '.ppm', '.pgm', '.pbm', '.bmp', '.gif', '.tif', '.tiff', '.webp')


class Listing(NamedTuple):
    """Class names, sorted; and for 'train' and 'test' the paths of the images, sorted, and their labels (int32)."""

    classes: tuple[str, ...]
    paths: dict[str, tuple[str, ...]]
    labels: dict[str, np.ndarray]


def arrange(files, folders, where):
    """The `Listing` of `files` and `folders`, relative paths with '/'; `where` names the place in messages.

    The images of an evaluation are in val, validation, valid or test: the first of them that exists. All may lie in
    one common top folder. Folders within a class belong to it. Hidden files are nothing, and files without the ending
    of an image (`ENDINGS`, in any case) are left out with one warning.

    Raises ValueError, and says which, for a missing split, images outside of a class, a class without images, and
    classes that are not the same in both splits.

    >>> listing = arrange(['train/b/1.png', 'train/a/2.png', 'val/a/3.png', 'val/b/4.png'], [], 'here')
    >>> listing.classes, listing.paths['train'], listing.labels['train'].tolist()
    (('a', 'b'), ('train/a/2.png', 'train/b/1.png'), [0, 1])
    """
    files = sorted(path for path in files if not _hidden(path))
    folders = {path.strip('/') for path in folders if not _hidden(path)} | {_folder(path) for path in files} - {''}
    top = _common_top(folders)
    tops = {path[len(top) :].split('/')[0] for path in folders if path.startswith(top)}
    test = next((name for name in TEST_NAMES if name in tops), None)
    if 'train' not in tops or test is None:
        raise ValueError(
            f'{where} must hold the folders train/CLASS and one of {", ".join(f"{n}/CLASS" for n in TEST_NAMES)}, '
            f'got the folders {shortened(sorted(tops))}'
        )
    splits = {'train': f'{top}train/', 'test': f'{top}{test}/'}
    images = {split: _by_class(files, folders, start, where) for split, start in splits.items()}
    _check_same(images, splits, where)
    _warn_of_others([path for path in files if path.startswith(tuple(splits.values())) and not is_image(path)], where)
    classes = tuple(sorted(images['train']))
    return Listing(
        classes,
        {split: tuple(path for name in classes for path in groups[name]) for split, groups in images.items()},
        {
            split: np.repeat(np.arange(len(classes), dtype=np.int32), [len(groups[name]) for name in classes])
            for split, groups in images.items()
        },
    )


def _hidden(path):
    parts = path.strip('/').split('/')
    return parts[0] == '__MACOSX' or any(part.startswith('.') for part in parts) or parts[-1] == 'Thumbs.db'


def _folder(path):
    return path.rpartition('/')[0]


def is_image(path):
    """Whether the name of a file ends as an image's does.

    >>> is_image('train/cat/1.JPG'), is_image('train/cat/notes.txt')
    (True, False)
    """
    return path.lower().endswith(ENDINGS)


def _common_top(folders):
    tops = {path.split('/')[0] for path in folders}
    return f'{tops.pop()}/' if len(tops) == 1 and not tops & {'train', *TEST_NAMES} else ''


def _by_class(files, folders, start, where):
    """{class: paths of its images} of the split whose folder is `start`."""
    classes = {path[len(start) :].split('/')[0]: [] for path in folders if path.startswith(start)}
    loose = []
    for path in files:
        if path.startswith(start) and is_image(path):
            name, slash, _ = path[len(start) :].partition('/')
            classes[name].append(path) if slash else loose.append(path)
    if loose:
        raise ValueError(f'{where}: images must lie in a folder of their class, {start}CLASS/, got {shortened(loose)}')
    if not classes:
        raise ValueError(f'{where}: {start} must hold a folder for each class, but there is none')
    empty = sorted(f'{start}{name}' for name, paths in classes.items() if not paths)
    if empty:
        raise ValueError(
            f'{where}: every class must have an image (a file that ends in {" ".join(ENDINGS)}), '
            f'there is none in {shortened(empty)}'
        )
    return classes


def _check_same(images, splits, where):
    train, test = set(images['train']), set(images['test'])
    if train != test:
        raise ValueError(
            f'{where}: the classes of {splits["train"]} and {splits["test"]} must be the same; '
            f'only in {splits["train"]}: {shortened(sorted(train - test))}, '
            f'only in {splits["test"]}: {shortened(sorted(test - train))}'
        )


def _warn_of_others(paths, where):
    if paths:
        warnings.warn(
            f'{where}: {len(paths)} files are no images by their names and are left out, the first is {paths[0]}',
            stacklevel=2,
        )
