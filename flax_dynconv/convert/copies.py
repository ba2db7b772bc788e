"""Copies of a network's weights inside a checkpoint: tables within tables, prefixes, averages beside the weights."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

# A word of these in the name of a table or a prefix says that what it holds is an average over training steps.
_AVERAGED = {'ema', 'swa', 'averaged'}
# Tables of an optimizer may be named by parameters too, and are no weights.
_NO_WEIGHTS = ('optim', 'sched', 'scaler')
# torch.nn.Module.state_dict() holds parameters and buffers; averages by mmcv are kept of the parameters alone.
_BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')


class Copy(NamedTuple):
    """Where a network's weights lie: `names` is {its own key: the key in the table at `path`}, as far as they fit.

    prefix: what precedes its keys there. averaged: an average over training steps (EMA, SWA).
    """

    path: tuple[str, ...]
    table: Mapping[Any, Any]
    prefix: str
    names: Mapping[str, str]
    averaged: bool

    def __str__(self) -> str:
        place = ''.join(f'[{name!r}]' for name in self.path) or 'its top level'
        return f'{place} (keys that begin with {self.prefix!r})' if self.prefix else place


def tables(checkpoint: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every table in a checkpoint with the names that lead to it, outer ones first, but for those of optimizers."""
    seen, queue = set(), [((), checkpoint)]
    while queue:
        path, table = queue.pop(0)
        if id(table) in seen:
            continue
        seen.add(id(table))
        yield path, table
        for name, value in table.items():
            if isinstance(value, Mapping) and not any(word in str(name).lower() for word in _NO_WEIGHTS):
                queue.append(((*path, str(name)), value))


def copies(checkpoint: Mapping[Any, Any], keys: Iterable[str]) -> list[Copy]:
    """All copies, also of few keys, in the order of their tables.

    >>> [str(copy) for copy in copies({'epoch': 3, 'model': {'module.weight': 0, 'n_averaged': 1}}, ['weight'])]
    ["['model'] (keys that begin with 'module.')"]
    """
    keys, found = dict.fromkeys(keys), []
    for path, table in tables(checkpoint):
        mmcv = any(isinstance(name, str) and re.search(r'(^|\.)ema_', name) for name in table)
        for prefix, names in _by_prefix(table, keys).items():
            kept = _kept_by_mmcv(table, prefix, keys) if mmcv else {}
            averaged = bool(kept) or is_averaged(path, prefix, table)
            found.append(Copy(path, table, prefix, names, averaged))
            if kept:
                found.append(Copy(path, table, prefix, _with_buffers(kept, names), False))
    return _swapped_by_mmengine(found)


def demanded(keys: Iterable[str], present: Container[str]) -> list[str]:
    """The keys that must be there: before PyTorch 0.4.1 networks had no `num_batches_tracked`, as some files still.

    >>> demanded(['a.weight', 'a.num_batches_tracked', 'b.num_batches_tracked'], ['a.weight'])
    ['a.weight']
    """
    keys = list(keys)
    counters = {key for key in keys if key.endswith('num_batches_tracked')}
    # One that is absent is a mistake, all of them are an old file.
    old = len(counters) > 1 and not any(key in present for key in counters)
    return [key for key in keys if key not in counters] if old else keys


def is_averaged(path: tuple[str, ...], prefix: str, table: Mapping[Any, Any]) -> bool:
    """Do the names of a place, or the counter of `torch.optim.swa_utils.AveragedModel`, say that it holds averages?

    >>> is_averaged(('state_dict_ema',), '', {}), is_averaged((), 'module.', {'n_averaged': 2})
    (True, True)
    """
    words = {word for name in (*path, prefix) for word in re.split(r'[^a-z]+', name.lower())}
    inside = any(f'{outer}n_averaged' in table and prefix.startswith(f'{outer}module.') for outer in ancestors(prefix))
    return inside or bool(words & _AVERAGED)


def ancestors(prefix: str) -> list[str]:
    """The prefixes that precede a dotted one, the shortest first.

    >>> ancestors('module.net.')
    ['', 'module.']
    """
    parts = prefix.split('.')[:-1]
    return [''.join(f'{part}.' for part in parts[:i]) for i in range(len(parts))]


def _by_prefix(table, keys):
    """{prefix: {key: prefix + key}} of all that the table has."""
    found = {}
    for name, value in table.items():
        if not isinstance(name, str) or isinstance(value, Mapping):
            continue
        starts = [0, *(match.end() for match in re.finditer(r'\.', name))]
        for start in starts:
            if name[start:] in keys:
                found.setdefault(name[:start], {})[name[start:]] = name
    return found


def _kept_by_mmcv(table, prefix, keys):
    """{key: name} of the buffers `ema_...`, dots replaced by underscores, of mmcv's hook beside the keys themselves."""
    for outer in [*ancestors(prefix), prefix]:
        names = {key: f'{outer}ema_' + f'{prefix}{key}'.removeprefix(outer).replace('.', '_') for key in keys}
        if kept := {key: name for key, name in names.items() if name in table}:
            return kept
    return {}


def _with_buffers(kept, names):
    return kept | {key: name for key, name in names.items() if key not in kept and key.endswith(_BUFFERS)}


def _swapped_by_mmengine(found):
    """mmengine saves the averages as 'state_dict' and the weights they come from, with a counter, as 'ema_state_dict'.

    So that whoever loads 'state_dict' gets what was evaluated; mmcv's buffers `ema_...` are swapped in the same way.
    """
    inverted = {copy.path[:-1] for copy in found if copy.path[-1:] == ('ema_state_dict',) and 'steps' in copy.table}
    names = {'state_dict': True, 'ema_state_dict': False}
    return [
        copy._replace(averaged=names[copy.path[-1]])
        if copy.path and copy.path[-1] in names and copy.path[:-1] in inverted
        else copy
        for copy in found
    ]
