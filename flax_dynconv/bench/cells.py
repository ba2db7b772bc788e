"""Every cell by name: named workloads of the operators, then what is composed of several."""

import fnmatch

from flax_dynconv.bench.head_cell import HeadCell
from flax_dynconv.bench.network_cell import NetworkCell
from flax_dynconv.bench.operator_cell import OperatorCell
from flax_dynconv.ops.shapes import WORKLOADS

SUITES = ('ops', 'models')
NETWORKS = ('odconv_resnet18_4x', 'odconv_mobilenetv2_100_1x', 'condconv_efficientnet_b0_4e')


def all_cells(suite: str) -> dict:
    """The cells of a suite by name, in the order of the tables."""
    if suite == 'models':
        return {name: NetworkCell(name) for name in NETWORKS}
    head = HeadCell()
    return {name: OperatorCell(workload) for name, workload in WORKLOADS.items()} | {head.name: head}


def find(suite: str, name: str):
    """The cell of that name."""
    return all_cells(suite)[name]


def select(suite: str, patterns=()) -> list:
    """The cells whose names match any of the shell patterns, all without patterns; ValueError if one matches none.

    >>> [cell.name for cell in select('ops', ['resnet18_?x?', 'dcm_1x1'])]
    ['resnet18_7x7', 'dcm_1x1']
    """
    cells = all_cells(suite)
    for pattern in patterns:
        if not fnmatch.filter(cells, pattern):
            raise ValueError(
                f'--only: no cell of the suite {suite!r} matches {pattern!r}; there are {", ".join(cells)}'
            )
    return [cell for name, cell in cells.items() if not patterns or any(fnmatch.fnmatch(name, p) for p in patterns)]
