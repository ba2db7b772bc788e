"""Every cell by name: named workloads of the operators, then what is composed of several."""

import fnmatch

from flax_dynconv.bench.head_cell import HeadCell
from flax_dynconv.bench.network_cell import NetworkCell
from flax_dynconv.bench.operator_cell import OperatorCell
from flax_dynconv.models.registry import MODELS
from flax_dynconv.ops.shapes import WORKLOADS

SUITES = ('ops', 'models')
NETWORKS = ('odconv_resnet18_4x', 'odconv_mobilenetv2_100_1x', 'condconv_efficientnet_b0_4e')


def all_cells(suite: str) -> dict:
    """All that a suite can measure, by name, in the order of the tables: of the networks, every one there is."""
    if suite == 'models':
        return {name: NetworkCell(name) for name in (*NETWORKS, *sorted(MODELS.keys() - set(NETWORKS)))}
    head = HeadCell()
    return {name: OperatorCell(workload) for name, workload in WORKLOADS.items()} | {head.name: head}


def find(suite: str, name: str):
    """The cell of that name."""
    return all_cells(suite)[name]


def select(suite: str, patterns=()) -> list:
    """The cells whose names match any of the shell patterns; ValueError if one matches none.

    Without patterns all operators, or the networks `NETWORKS`.

    >>> [cell.name for cell in select('ops', ['resnet18_?x?', 'dcm_1x1'])]
    ['resnet18_7x7', 'dcm_1x1']
    """
    cells = all_cells(suite)
    patterns = patterns or (NETWORKS if suite == 'models' else ['*'])
    for pattern in patterns:
        if not fnmatch.filter(cells, pattern):
            raise ValueError(
                f'--only: no cell of the suite {suite!r} matches {pattern!r}; there are {", ".join(cells)}'
            )
    return [cell for name, cell in cells.items() if any(fnmatch.fnmatch(name, p) for p in patterns)]
