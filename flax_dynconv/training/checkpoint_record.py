"""What a checkpoint says of itself, in JSON: the run's progress and score, and each array's dtype, shape and bits."""

import hashlib
import json
import os

from flax_dynconv.training.fingerprint import fingerprint, named_leaves

FILE = 'progress.json'


class Damaged(ValueError):
    """A checkpoint, or all of them, cannot be read as it was written."""


def describe(state, progress, score):
    """The record of a state: JSON's view of it, a copy. Raises TypeError or ValueError for what JSON cannot hold."""
    prints = fingerprint(state)
    arrays = {name: [str(leaf.dtype), list(leaf.shape), prints[name]] for name, leaf in named_leaves(state).items()}
    return json.loads(json.dumps({'progress': progress, 'score': score, 'arrays': arrays}))


def signed(record):
    """The record and its checksum: what the file holds.

    >>> list(signed({'score': 0.5}))
    ['record', 'sha256']
    """
    return {'record': record, 'sha256': _checksum(record)}


def read(folder):
    """The record in `folder`, the one of a checkpoint's progress; raises `Damaged`."""
    file = folder / FILE
    try:
        content = json.loads(file.read_text())
        record, checksum = content['record'], content['sha256']
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f'{folder.parent} is damaged ({FILE}: {type(error).__name__}: {error})') from error
    if checksum != _checksum(record):
        raise Damaged(f'{folder.parent} is damaged ({FILE} is not what was saved)')
    return record


def rewrite(folder, record):
    """Replace the record in `folder`: at any moment it is the old one or the new one."""
    temporary = folder / f'.{FILE}'
    with temporary.open('w') as file:
        json.dump(signed(record), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / FILE)


def check_same_network(folder, record, template):
    """ValueError unless the arrays of a record have the names, shapes and dtypes of a tree of shapes."""
    saved = {name: tuple(description[:2]) for name, description in record['arrays'].items()}
    wanted = {name: (str(leaf.dtype), list(leaf.shape)) for name, leaf in named_leaves(template).items()}
    differences = [
        *(f'{name} is not in it' for name in wanted if name not in saved),
        *(f'{name} is not in the state' for name in saved if name not in wanted),
        *(
            f'{name} is {saved[name][0]}{saved[name][1]} in it, {dtype}{shape} in the state'
            for name, (dtype, shape) in wanted.items()
            if name in saved and saved[name] != (dtype, shape)
        ),
    ]
    if differences:
        more = f' and {len(differences) - 3} more' if len(differences) > 3 else ''
        raise ValueError(f'{folder.parent} is of another network or optimiser: {"; ".join(differences[:3])}{more}')


def _checksum(record):
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
