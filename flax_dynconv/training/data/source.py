"""What a place with images must say of itself; folders, archives and data sets of other libraries do."""

from typing import Any, Protocol

# What the images of an evaluation are called, in the order in which they are looked for.
TEST_NAMES = ('val', 'validation', 'valid', 'test')


class Source(Protocol):
    """Labelled images in two splits, 'train' and 'test', numbered from 0 in an order that never changes.

    `read` may be called by several threads at a time, and a source can be pickled for reader processes.
    """

    splits: tuple[str, ...]
    classes: tuple[str, ...]  # in the order of the labels: sorted, unless the data set numbers its classes itself

    def size(self, split: str) -> int:
        """Number of images."""

    def read(self, split: str, index: int) -> tuple[Any, int, str]:
        """(bytes of an image file or a PIL image, label, name) of one image; `UnreadableImage` if it is damaged."""


class UnreadableImage(ValueError):
    """An image that is damaged, or no image at all: its name, and the reason in words."""

    def __init__(self, name, reason):
        super().__init__(name, reason)  # both are arguments, so that the exception can be pickled
        self.name, self.reason = name, reason

    def __str__(self):
        return f'{self.name} cannot be read: {self.reason}'


def check_split(split, splits):
    """ValueError for a split that is not there."""
    if split not in splits:
        raise ValueError(f'split must be one of {sorted(splits)}, got {split!r}')


def evaluation_split(names, where):
    """The name of the split to evaluate on, among `names`; ValueError if 'train' or all of `TEST_NAMES` are missing.

    >>> evaluation_split({'train', 'test', 'validation'}, 'the data set')
    'validation'
    """
    found = sorted(names)
    if 'train' not in names:
        raise ValueError(f"{where} has no split 'train', only {found}")
    for name in TEST_NAMES:
        if name in names:
            return name
    raise ValueError(f'{where} has no images for evaluation: expected a split among {TEST_NAMES}, got {found}')


def check_labels(labels, classes, where):
    """ValueError for a label that is no class, or a class without a training image; `labels` by split."""
    for split, values in labels.items():
        wrong = sorted({int(value) for value in values if not 0 <= value < len(classes)})
        if wrong:
            raise ValueError(f'{where}: labels of {split} must be from 0 to {len(classes) - 1}, got {wrong[:10]}')
    empty = sorted(set(range(len(classes))) - {int(value) for value in labels['train']})
    if empty:
        names = [classes[label] for label in empty]
        raise ValueError(f'{where}: every class must have training images, {shortened(names)} have none')


def only_feature(features, kind, preferred, word, where):
    """The name of the only feature of a type, or the usual one among several; `word` is what the source calls it.

    >>> only_feature({'img': 1, 'label': 'cat'}, int, 'image', 'column', 'the data set')
    'img'
    """
    names = [name for name, feature in features.items() if isinstance(feature, kind)]
    if preferred in names:
        return preferred
    if len(names) != 1:
        raise ValueError(
            f'{where} must have one {word} of the type {kind.__name__} or one called {preferred!r}, '
            f'got {shortened(names)} of {shortened(sorted(features))}'
        )
    return names[0]


def shortened(names, most=10):
    """At most ten names for a message.

    >>> shortened(['cat', 'dog'])
    "['cat', 'dog']"
    >>> shortened(list('abcdefghijkl'))
    "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'] and 2 more"
    """
    names = list(names)
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return f'{names[:most]}{more}'
