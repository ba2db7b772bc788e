"""A PyTorch constructor's own argument names and defaults, and binding a flat table of arguments to them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from flax_dynconv.convert.errors import ConversionError, suggestion

REQUIRED = object()


class Signature(NamedTuple):
    """Names with defaults (REQUIRED where there is none), checks per name, and other spellings of a name.

    >>> conv = Signature({'in_planes': REQUIRED, 'stride': 1}, aliases={'in_channels': 'in_planes'})
    >>> conv.bind('my.Conv', {'in_channels': 8})
    {'in_planes': 8, 'stride': 1}
    """

    defaults: Mapping[str, Any]
    checks: Mapping[str, Callable[[Any], str | None]] = {}
    aliases: Mapping[str, str] = {}

    def bind(self, reference: str, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        """All arguments by name, defaults filled in and lists made tuples.

        Raises ConversionError, listing every unknown, missing, doubled or unusable argument at once.
        """
        if arguments is not None and not isinstance(arguments, Mapping):
            raise ConversionError(f'arguments: expected a table of names and values, got {arguments!r}')
        given, problems = {}, []
        for name, value in (arguments or {}).items():
            target = self.aliases.get(name, name)
            if target not in self.defaults:
                problems.append(f'unknown argument {name!r}{suggestion(str(name), self.defaults)}')
            elif target in given:
                problems.append(f'argument {target!r} given twice, once as {name!r}')
            else:
                given[target] = plain(value)
        missing = [name for name, default in self.defaults.items() if default is REQUIRED and name not in given]
        problems += [f'missing argument {name!r}' for name in missing]
        for name, check in self.checks.items():
            if name in given and (complaint := check(given[name])):
                problems.append(f'argument {name!r}: expected {complaint}, got {given[name]!r}')
        if problems:
            names = ', '.join(n if d is REQUIRED else f'{n}={d!r}' for n, d in self.defaults.items())
            raise ConversionError(f'{reference}({names}): ' + '; '.join(problems))
        return {name: given.get(name, default) for name, default in self.defaults.items()}


def plain(value):
    """Lists as tuples and numpy's scalars as Python's."""
    if isinstance(value, list | tuple):
        return tuple(plain(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def positive_int(value):
    """A check: one whole number, at least 1."""
    return None if _is_int(value) and value >= 1 else 'an int >= 1'


def flag(value):
    """A check: true or false."""
    return None if isinstance(value, bool) else 'true or false'


def positive_number(value):
    """A check: a finite number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if number and 0 < value < float('inf') else 'a number > 0'


def probability(value):
    """A check: a number in [0, 1]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if number and 0 <= value <= 1 else 'a number from 0 to 1'


def ints(ndim: int, minimum: int = 1):
    """A check: an int or `ndim` ints, each at least `minimum` (PyTorch also takes one int in a tuple)."""

    def check(value):
        values = value if isinstance(value, tuple) else (value,)
        fine = len(values) in (1, ndim) and all(_is_int(v) and v >= minimum for v in values)
        return None if fine else f'an int >= {minimum} or {ndim} of them'

    return check


def square_ints(ndim: int):
    """A check: an int, or `ndim` equal ones."""

    def check(value):
        equal = not isinstance(value, tuple) or len(set(value)) == 1
        return None if equal and ints(ndim)(value) is None else f'an int >= 1 (or {ndim} equal ones)'

    return check


def padding(ndim: int, names: tuple[str, ...] = ('same', 'valid')):
    """A check: amounts of padding, or one of PyTorch's names for them."""

    def check(value):
        fine = value in names if isinstance(value, str) else ints(ndim, 0)(value) is None
        return None if fine else f'an int >= 0, {ndim} of them or one of {names}'

    return check


def one_of(*choices):
    """A check: one of these values."""
    return lambda value: None if value in choices else f'one of {choices}'
