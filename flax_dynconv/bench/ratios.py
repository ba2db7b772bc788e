"""Ratios of the choice to static convolutions, PyTorch, vmap and unfold, cell by cell; pure functions of results."""

import dataclasses
import math

from flax_dynconv.bench.statistics import geometric_mean

# PyTorch's dynamic forms; a ratio to PyTorch is to the fastest that was measured.
PEERS = ('torch_grouped', 'torch_official', 'torch_unfold')


@dataclasses.dataclass(frozen=True)
class Ratios:
    """Ratios with the names of their cells."""

    values: tuple[float, ...]
    names: tuple[str, ...]

    @property
    def mean(self) -> float:
        """The geometric mean; nan for none."""
        return geometric_mean(self.values)

    @property
    def worst(self) -> tuple[float, str]:
        """The largest with its cell; nan for none."""
        return max(zip(self.values, self.names, strict=True), default=(math.nan, ''))

    def __len__(self):
        return len(self.values)


def peer(found, cell, batch, direction) -> float | None:
    """Seconds of PyTorch's fastest dynamic form; None where none was measured."""
    times = (found.seconds(cell, batch, direction, name) for name in PEERS)
    return min((t for t in times if t), default=None)


def own(found, cell, batch, direction) -> float | None:
    """Seconds of the choice; infinite where it failed or was broken off, None where the cell was not measured."""
    row = found.row(cell, batch, direction, 'chosen')
    return None if row is None else row.get('median', math.inf)


def to(found, program, direction, facts) -> Ratios:
    """The choice over `program` ('PyTorch' for its fastest dynamic form) for the cells of `facts`."""
    pairs = []
    for fact in facts:
        place = fact['cell'], fact['batch'], direction
        other = peer(found, *place) if program == 'PyTorch' else found.seconds(*place, program)
        pairs.append((own(found, *place), other, fact))
    return _ratios(pairs)


def facts_of(found, key, direction, program, facts) -> list:
    """(fact, number) for the compiler's number `key` of a program, where there is one."""
    rows = ((f, found.row(f['cell'], f['batch'], direction, program) or {}) for f in facts)
    return [(f, row['facts'][key]) for f, row in rows if key in row.get('facts', {})]


def _ratios(pairs):
    pairs = [(a / b, f'{fact["cell"]} B={fact["batch"]}') for a, b, fact in pairs if a and b]
    return Ratios(tuple(value for value, _ in pairs), tuple(name for _, name in pairs))
