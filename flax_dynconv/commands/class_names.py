"""Names of classes: from a file, or numbers."""

from pathlib import Path


def read_classes(path, num_classes):
    """The lines of a text file, one name for each class in the order of the labels.

    Raises ValueError if there are more or fewer than `num_classes`, or if the file is no text; OSError if it cannot be
    read.
    """
    try:
        names = Path(path).read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} must be a text with one class name per line: {error}') from error
    while names and not names[-1].strip():
        names.pop()
    if len(names) != num_classes:
        raise ValueError(f'{path} must hold {num_classes} lines, one for each class of the network, got {len(names)}')
    return tuple(name.strip() for name in names)


def numbered(num_classes):
    """The numbers of the labels, for want of names.

    >>> numbered(3)
    ('0', '1', '2')
    """
    return tuple(map(str, range(num_classes)))
