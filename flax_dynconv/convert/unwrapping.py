"""unwrap: the one state_dict that is meant inside a checkpoint, without the wrappers and prefixes around it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flax_dynconv.convert.copies import Copy, ancestors, copies, demanded, is_averaged, tables
from flax_dynconv.convert.errors import ConversionError

# Counters that wrappers of averaged weights (PyTorch's, mmengine's, ema_pytorch's) save beside them.
_COUNTERS = ('n_averaged', 'steps', 'step', 'initted')


class Unwrapped(NamedTuple):
    """A state_dict and where it lay.

    state: key -> array as in the checkpoint, the prefix removed; with what does not belong there, if anything.
    leftovers: keys of the same table that do not have the prefix and belong to no copy of the weights.
    path: names of the tables that lead to it. prefix: what was removed from the keys. averaged: it is an EMA copy.
    other: whether the checkpoint has both, ordinary weights and an EMA copy.
    """

    state: Mapping[Any, Any]
    leftovers: tuple[Any, ...] = ()
    path: tuple[str, ...] = ()
    prefix: str = ''
    averaged: bool = False
    other: bool = False

    def __str__(self) -> str:
        parts = [''.join(f'[{name!r}]' for name in self.path)] if self.path else []
        parts += [f'without the prefix {self.prefix!r}'] if self.prefix else []
        parts += ['the EMA copy'] if self.averaged else ['not the EMA copy'] if self.other else []
        return ', '.join(parts)


def unwrap(checkpoint: Mapping[str, Any], keys: Iterable[str], *, ema: bool | None = None) -> Unwrapped:
    """The state_dict with these `keys` inside a checkpoint; what fits as it is stays as it is.

    Looked for in tables at any depth (`{'state_dict': ...}`, `{'model': ...}`, other entries beside them are ignored)
    and under any prefix that precedes all keys of a table (`module.`, `_orig_mod.`, `model.backbone.`), or those of
    one of several complete copies in it. Names with the word `ema` or `swa`, and PyTorch's `AveragedModel`, are EMA
    copies. So are, against their names, the plain weights of mmcv and mmengine beside their `ema_...`: those hooks
    save the averages under the plain names, and the weights they come from under the others.

    ema: None takes the EMA copy if there is one, as people evaluate with it; True demands it; False demands the
    ordinary weights.
    Raises ConversionError if several copies fit (it names them) or none of the kind that `ema` demands. If none fits,
    the result is the table that comes closest; checking it is the caller's.

    >>> checkpoint = {'epoch': 3, 'state_dict': {'module.weight': 1.0}, 'state_dict_ema': {'module.weight': 2.0}}
    >>> unwrap(checkpoint, ['weight']).state, unwrap(checkpoint, ['weight'], ema=False).state
    ({'weight': 2.0}, {'weight': 1.0})
    """
    if not isinstance(checkpoint, Mapping):
        raise ConversionError(f'state_dict: expected a mapping of keys to arrays, got {type(checkpoint).__name__}')
    if ema not in (None, True, False):
        raise ConversionError(f'ema: expected None, True or False, got {ema!r}')
    keys = dict.fromkeys(keys)
    if checkpoint.keys() == keys.keys() and not any(isinstance(value, Mapping) for value in checkpoint.values()):
        found = [Copy((), checkpoint, '', {key: key for key in keys}, False)]
    else:
        found = [copy for copy in copies(checkpoint, keys) if 2 * len(copy.names) > len(demanded(keys, copy.names))]
    kinds = {copy.averaged for copy in found}
    if not found:
        if ema:
            raise ConversionError('ema=True: the checkpoint has no EMA copy that fits')
        return _closest(checkpoint, keys)
    wanted = (True in kinds) if ema is None else bool(ema)
    if wanted not in kinds:
        have = ', '.join(str(copy) for copy in found)
        missing = 'no EMA copy that fits' if wanted else 'no weights that fit but an EMA copy'
        raise ConversionError(f'ema={ema}: the checkpoint has {missing}; what fits lies at {have}')
    chosen = _choose([copy for copy in found if copy.averaged == wanted], keys)
    return _take(chosen, [copy for copy in found if copy.averaged != wanted], both=len(kinds) == 2)


def _choose(found, keys):
    complete = [copy for copy in found if all(key in copy.names for key in demanded(keys, copy.names))]
    if not complete:
        return max(found, key=lambda copy: len(copy.names))
    # What lies inside a copy is a superfluous entry of it and no second copy.
    outer = [copy for copy in complete if not any(_inside(copy, other) for other in complete if other is not copy)]
    if len(outer) > 1:
        places = '; '.join(str(copy) for copy in outer)
        raise ConversionError(f'state_dict is ambiguous: {len(outer)} sets of weights fit, {places}; give one alone')
    return outer[0]


def _inside(copy, other):
    deeper = copy.path[: len(other.path)] == other.path and copy.path != other.path and not other.prefix
    return deeper or (copy.table is other.table and other.prefix in ancestors(copy.prefix))


def _take(chosen, others, both):
    """The chosen copy and everything else in its table that belongs to no copy of the other kind."""
    path, table, prefix = chosen.path, chosen.table, chosen.prefix
    beside = [other for other in others if other.table is table]
    known = {*chosen.names.values(), *_counters([chosen, *beside])}
    known |= {name for other in beside for name in other.names.values()}
    known |= {other.path[len(path)] for other in others if other not in beside and other.path[: len(path)] == path}
    rest = [name for name in table if name not in known]
    inner = {name for name in rest if isinstance(name, str) and name.startswith(prefix)}
    state = {key: table[name] for key, name in chosen.names.items()}
    state |= {name[len(prefix) :] if prefix else name: table[name] for name in rest if name in inner or not prefix}
    leftovers = tuple(name for name in rest if prefix and name not in inner)
    return Unwrapped(state, leftovers, path, prefix, chosen.averaged, both)


def _counters(places):
    """Keys of the counters that wrappers save beside averaged weights; each is one number."""
    for place in places:
        if is_averaged(place.path, place.prefix, place.table):
            for name in (f'{outer}{counter}' for outer in ancestors(place.prefix) for counter in _COUNTERS):
                if getattr(place.table.get(name), 'shape', None) in ((), (1,)):
                    yield name


def _closest(checkpoint, keys):
    """The table with most of the keys, else with most arrays, without the longest prefix that all its keys have."""
    best, score = Unwrapped(checkpoint), (-1, -1)
    for path, table in tables(checkpoint):
        arrays = sum(hasattr(value, 'shape') for value in table.values())
        for prefix in _common_prefixes(table):
            state = {name[len(prefix) :]: value for name, value in table.items()} if prefix else table
            if (new := (len(keys & state.keys()), arrays)) > score:
                best, score = Unwrapped(state, (), path, prefix), new
    return best


def _common_prefixes(table):
    """Prefixes of all keys of a table, the shortest, '', first."""
    if not all(isinstance(name, str) for name in table):
        return ['']
    return [p for p in ancestors(min(table, default='') + '.') if all(name.startswith(p) for name in table)]
