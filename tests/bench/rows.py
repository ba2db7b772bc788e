"""Synthetic results: a cell and its times in a line."""

from flax_dynconv.bench.results import Results

MACHINE = {'processor': 'a processor', 'cores': 2, 'memory_bytes': 8 << 30, 'system': 'Linux'}


def results():
    return Results({'suite': 'ops', 'dtype': 'float32', 'load_before': 0.1, 'machine': MACHINE})


def add(found, cell, batch, kind='dense', direction='gradient', compile_seconds=1.0, temp=0, facts=(), **seconds):
    """Times in seconds by program; {'at_least': t} for one that was broken off."""
    if (cell, batch) not in [(c['cell'], c['batch']) for c in found.cells]:
        usual = {'kernel_size': [3, 3], 'positions': 196, 'operand_bytes': 100, 'mixed_kernel_bytes': 0, 'form': 'loop'}
        found.cells.append({'cell': cell, 'batch': batch, 'kind': kind} | usual | dict(facts))
    for program, time in seconds.items():
        times = time if isinstance(time, dict) else {'median': time, 'quartiles': None, 'samples': 1}
        row = {'suite': 'ops', 'cell': cell, 'batch': batch, 'direction': direction, 'program': program}
        row |= {'framework': 'jax', 'facts': {'compile_seconds': compile_seconds, 'temp_bytes': temp}}
        found.rows.append(row | times)
    return found
