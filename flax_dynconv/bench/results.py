"""Results of a run: a header, facts of the cells, one row per program; written as JSON after every cell.

Row: suite, cell, batch, direction, program, framework, and either `median`, `quartiles` and `samples` in seconds (with
`at_least` where a run was broken off at that time) or `left_out`, the reason. `facts` are of the compiler.
"""

import dataclasses
import json
import os
from pathlib import Path

VERSION = 1


@dataclasses.dataclass
class Results:
    """All that a run found; `header` says where and how."""

    header: dict
    cells: list = dataclasses.field(default_factory=list)
    rows: list = dataclasses.field(default_factory=list)

    def facts(self, cell: str, batch: int) -> dict:
        """Facts of one cell at one batch."""
        return next(c for c in self.cells if (c['cell'], c['batch']) == (cell, batch))

    def row(self, cell, batch, direction, program) -> dict | None:
        """One row; None where there is none."""
        return self.by_key().get((cell, batch, direction, program))

    def by_key(self) -> dict:
        """(cell, batch, direction, program) -> row."""
        if len(self._index) != len(self.rows):
            self._index.update({(r['cell'], r['batch'], r['direction'], r['program']): r for r in self.rows})
        return self._index

    def __post_init__(self):
        self._index = {}

    def seconds(self, cell, batch, direction, program) -> float | None:
        """The median of one program, or the time at which it was broken off; None where it was not measured."""
        row = self.row(cell, batch, direction, program) or {}
        return row.get('median', row.get('at_least'))

    def write(self, path) -> None:
        """Replace the file in one step, so that an interrupted run leaves a whole one."""
        path = Path(path)
        part = path.with_name(path.name + '.part')
        part.write_text(json.dumps({'version': VERSION} | dataclasses.asdict(self), indent=1))
        os.replace(part, path)


def read(path) -> Results:
    """Results of an earlier run; ValueError for a file that holds none."""
    try:
        content = json.loads(Path(path).read_text())
        if content.pop('version') != VERSION:
            raise ValueError('of another version')
        found = Results(**content)
        found.by_key()
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path}: no results of `flax-dynconv bench --json`: {error}') from error
