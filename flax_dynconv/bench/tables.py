"""Results as text: what and where, tables in markdown, a line for each mark."""

from flax_dynconv.bench import marks, ratios
from flax_dynconv.bench.program import FORWARD, GRADIENT, INFER, TRAIN

# The share of the cores that others may use before a cell is named.
DISTURBED = 0.1
TITLES = {
    FORWARD: 'Forward', GRADIENT: 'Forward and gradient', TRAIN: 'Training step', INFER: 'Inference batch'
}  # fmt: skip


def report(found, old=None) -> str:
    """The whole printed result."""
    parts = [heading(found)]
    measured = {row['direction'] for row in found.rows}
    for direction, title in TITLES.items():
        if direction not in measured:
            continue
        for more, lines in (('', table(found, direction, old)), (': every form, ms', forms(found, direction))):
            parts += [f'## {title}{more}', lines] if lines else []
    return '\n\n'.join([*parts, *left_out(found), '## Marks', summary(found)])


def left_out(found) -> list[str]:
    """What was not measured, and why."""
    cells = [f'{f["cell"]} B={f["batch"]}: {f["left_out"]}' for f in found.cells if 'left_out' in f]
    by_reason = {}
    for row in found.rows:
        if 'left_out' in row:
            name = f'{row["program"]} ({row["direction"]})'
            by_reason.setdefault((row['cell'], row['batch'], row['left_out']), []).append(name)
    rows = [f'{cell} B={batch}: {", ".join(names)}: {reason}' for (cell, batch, reason), names in by_reason.items()]
    return ['## Left out', '\n'.join(f'* {line}' for line in cells + rows)] if cells or rows else []


def summary(found) -> str:
    """A line for each mark."""
    rows = [[m.goal, m.figure, m.verdict] for m in marks.marks(found)]
    return _lines(['goal', 'figure', 'verdict'], rows)


def heading(found) -> str:
    """What was measured, where, and how idle the machine was."""
    header, machine = found.header, found.header['machine']
    versions = ', '.join(
        f'{name} {header[name]["version"]} with {header[name]["threads"]} threads'
        for name in ('jax', 'torch')
        if name in header
    )
    shares = [c['others'] for c in found.cells if 'others' in c]
    others = f'; other processes used {100 * sum(shares) / len(shares):.0f} % of the cores' if shares else ''
    disturbed = [f'{c["cell"]} B={c["batch"]}' for c in found.cells if c.get('others', 0) > DISTURBED]
    jax = header.get('jax', {})
    device = '' if jax.get('platform', 'cpu') == 'cpu' else f'JAX on {jax["device"]}; '
    lines = [
        f'{device}{machine["processor"]}, {machine["cores"]} cores; {versions}; {header["dtype"]}',
        f'load {header["load_before"]} before, {header.get("load_after", "?")} after (with the run itself){others}; '
        f'{header.get("seconds", "?")} s' + ('' if header.get('whole', True) else '; INTERRUPTED'),
    ]
    if flags := machine.get('environment'):
        lines.append('environment: ' + ', '.join(f'{name}={value}' for name, value in flags.items()))
    if disturbed:
        lines.append(f'more than {100 * DISTURBED:.0f} % while these were measured: {", ".join(disturbed)}')
    return '\n'.join(lines)


def _ms(row):
    if row is None:
        return ''
    if 'median' in row:
        return f'{1e3 * row["median"]:.3g}'
    return f'> {1e3 * row["at_least"]:.0f}' if 'at_least' in row else 'left out'


def _spread(row):
    if not row or not row.get('quartiles'):
        return ''
    low, high = row['quartiles']
    return f'{1e3 * low:.3g} to {1e3 * high:.3g}'


def _ratio(a, b):
    return f'{a / b:.2f}' if a and b else ''


def _lines(head, rows):
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, ['---'] * len(head), *rows))


def table(found, direction, old=None) -> str:
    """The choice against the static convolution, vmap and PyTorch; memory and compile time."""
    head = [
        'cell', 'B', 'K', 'choice', 'ms', 'quartiles', 'to static', 'to PyTorch', 'vmap to it', 'static ms',
        'PyTorch ms', 'PyTorch static ms', 'temporaries MB', 'of operands', 'compile s',
        *(['to the old'] if old else []),
    ]  # fmt: skip
    rows = []
    for facts in found.cells:
        cell, batch = facts['cell'], facts['batch']
        row = found.row(cell, batch, direction, 'chosen')
        if row is None:
            continue

        def seconds(program, cell=cell, batch=batch):
            return found.seconds(cell, batch, direction, program)

        own, static, torch = seconds('chosen'), seconds('static'), ratios.peer(found, cell, batch, direction)
        vmap = _ratio(seconds('reference'), own)
        if vmap and 'at_least' in found.row(cell, batch, direction, 'reference'):
            vmap = f'> {vmap}'
        torch_static, temp = seconds('torch_static'), row.get('facts', {}).get('temp_bytes')
        rows.append([
            cell, str(batch), str(facts.get('num_kernels', '')), choice_of(facts), _ms(row), _spread(row),
            _ratio(own, static), _ratio(own, torch), vmap, _ms_of(static), _ms_of(torch),
            _ms_of(torch_static), '' if temp is None else f'{temp / 1e6:.3g}',
            '' if temp is None else f'{temp / facts["operand_bytes"]:.2f}',
            f'{row["facts"]["compile_seconds"]:.2f}' if 'facts' in row else '',
            *([_ratio(own, old.seconds(cell, batch, direction, 'chosen'))] if old else []),
        ])  # fmt: skip
    return _lines(head, rows) if rows else ''


def choice_of(facts) -> str:
    """The form that is chosen, or those of the forward and the backward pass.

    >>> choice_of({'form': 'loop', 'backward': 'blocks'})
    'loop, blocks'
    """
    return ', '.join(dict.fromkeys([facts['form'], facts.get('backward', facts['form'])]))


def _ms_of(seconds):
    return f'{1e3 * seconds:.3g}' if seconds else ''


def forms(found, direction) -> str:
    """Milliseconds of every program that is not in the first table."""
    first = {'chosen', 'static', 'torch_static'}
    names = dict.fromkeys(r['program'] for r in found.rows if r['direction'] == direction and r['program'] not in first)
    rows = []
    for facts in found.cells:
        cell, batch = facts['cell'], facts['batch']
        times = [_ms(found.row(cell, batch, direction, name)) for name in names]
        if any(times):
            rows.append(
                [cell, str(batch), f'{choice_of(facts)}: {_ms(found.row(cell, batch, direction, "chosen"))}', *times]
            )
    shown = ['vmap' if name == 'reference' else name for name in names]
    return _lines(['cell', 'B', 'choice', *shown], rows) if rows else ''
