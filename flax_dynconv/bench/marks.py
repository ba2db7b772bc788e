"""The goals of the benchmark as pure functions of its results: what was reached, and whether that is a pass."""

import dataclasses
import math

from flax_dynconv.bench import ratios
from flax_dynconv.bench.network_cell import LIBRARY_TWIN
from flax_dynconv.bench.program import FORWARD, GRADIENT, INFER, TRAIN
from flax_dynconv.bench.statistics import geometric_mean
from flax_dynconv.ops.shapes import ALL_SCALES

BATCHES = (8, 32)
# Two compilations of one program differ by this much.
FLAT = 1.2


@dataclasses.dataclass(frozen=True)
class Mark:
    """One goal; `passed` is None where nothing of it was measured."""

    goal: str
    figure: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        """'pass', 'short' or 'not measured'."""
        return {True: 'pass', False: 'short', None: 'not measured'}[self.passed]


def marks(found) -> list[Mark]:
    """All marks of the suite that was run."""
    networks = [f for f in found.cells if f['kind'] == 'network']
    if networks:
        return [*_networks(found, networks), *failures(found)]
    families = dense_training, dense_forward, odconv, per_pixel, head, compiling, failures
    return [mark for family in families for mark in family(found)]


def at_most(goal, limit, parts, strict=False) -> Mark:
    """All parts, (name, number), must be at most `limit`, or below it if strict.

    nan was not measured: without all parts a mark can fall short, but not pass.
    """
    return _of_all(goal, parts, lambda value: value < limit or (value == limit and not strict), '.2f')


def at_least(goal, limit, parts) -> Mark:
    """Every part must be at least `limit`; as `at_most`."""
    return _of_all(goal, parts, lambda value: value >= limit, '.1f')


def _of_all(goal, parts, holds, digits):
    parts = list(parts)
    known = [(name, value) for name, value in parts if not math.isnan(value)]
    figure = ', '.join(f'{name} {value:{digits}}' for name, value in known)
    if 0 < len(known) < len(parts):
        figure += f'; {len(parts) - len(known)} of {len(parts)} parts not measured'
    short = not all(holds(value) for _, value in known)
    return Mark(goal, figure, False if short else True if parts and len(known) == len(parts) else None)


def of_kind(found, *kinds, batch=None, keep=lambda fact: True) -> list:
    """The facts of cells of some kinds."""
    return [f for f in found.cells if f['kind'] in kinds and batch in (None, f['batch']) and keep(f)]


def _means(found, program, direction, keep=lambda fact: True):
    for batch in BATCHES:
        found_ratios = ratios.to(found, program, direction, of_kind(found, 'dense', batch=batch, keep=keep))
        yield f'B={batch} ({len(found_ratios)} cells)', found_ratios.mean


def _worst(found, program, direction, facts):
    # A batch of which nothing was measured is a part of the mark, too.
    for batch in BATCHES:
        worst, name = ratios.to(found, program, direction, [f for f in facts if f['batch'] == batch]).worst
        yield name, worst


def dense_training(found):
    """Forward and gradient of the dense operators at batches 8 and 32."""
    dense = [f for f in of_kind(found, 'dense') if f['batch'] in BATCHES]
    title = 'dense, forward and gradient: '
    yield at_most(title + 'geometric mean <= 0.9 of PyTorch', 0.9, _means(found, 'PyTorch', GRADIENT))
    yield at_most(title + 'geometric mean <= 1.15 of static', 1.15, _means(found, 'static', GRADIENT))
    yield at_most(title + 'no cell above 1.7 of static', 1.7, _worst(found, 'static', GRADIENT, dense))
    parts = _means(found, 'reference', GRADIENT, lambda f: f['kernel_size'] == [3, 3])
    yield at_least(title + '3x3 >= 15 times faster than vmap', 15, [(name, 1 / value) for name, value in parts])


def dense_forward(found):
    """Forward of the dense operators at batches 8 and 32."""

    def large(fact):
        return fact['positions'] >= 196

    title = 'dense, forward: '
    yield at_most(title + 'geometric mean <= 1.0 of PyTorch', 1.0, _means(found, 'PyTorch', FORWARD))
    parts = list(_means(found, 'static', FORWARD, large))
    mark = at_most(title + 'geometric mean <= 1.2 of static where HoWo >= 196', 1.2, parts)
    facts = [f for f in of_kind(found, 'dense', keep=large) if f['batch'] in BATCHES]
    worst = ', '.join(f'{name} {value:.2f}' for name, value in _worst(found, 'static', FORWARD, facts) if name)
    yield dataclasses.replace(mark, figure=mark.figure + (f'; worst: {worst}' if worst else ''))


def odconv(found):
    """ODConv with all scales over the plain mixture of the same arrays, in every cell."""
    facts = [f for f in of_kind(found, 'dense') if set(f.get('scales', ())) == set(ALL_SCALES)]
    for direction, title in ((FORWARD, 'forward'), (GRADIENT, 'forward and gradient')):
        found_ratios = ratios.to(found, 'plain', direction, facts)
        worst, name = found_ratios.worst
        mark = at_most(f'ODConv with all scales <= 1.15 of the plain mixture, {title} (worst)', 1.15, [(name, worst)])
        more = f'; geometric mean of {len(found_ratios)} cells {found_ratios.mean:.2f}' if name else ''
        yield dataclasses.replace(mark, figure=mark.figure + more)


def per_pixel(found):
    """Depthwise kernels per sample and kernels per position: every cell, both directions."""
    facts = of_kind(found, 'depthwise', 'per_position')
    slower, means, memory, of_operands = [], [], [], []
    for direction in (FORWARD, GRADIENT):
        worst, name = ratios.to(found, 'PyTorch', direction, facts).worst
        slower.append((f'{direction}: {name}', worst))
        means.append((direction, 1 / ratios.to(found, 'xla_unfold', direction, facts).mean))
        temps = ratios.facts_of(found, 'temp_bytes', direction, 'chosen', facts)
        for size, worst_of in (('x_bytes', memory), ('operand_bytes', of_operands)):
            shares = [(temp / f[size], f'{direction}: {f["cell"]} B={f["batch"]}') for f, temp in temps if size in f]
            worst_of.append(max(shares, default=(math.nan, ''))[::-1])
    title = 'depthwise per sample, kernels per position: '
    yield at_most(title + "every cell faster than PyTorch's forms (worst)", 1.0, slower, strict=True)
    yield at_least(title + '>= 5 times faster than XLA unfold, geometric mean', 5, means)
    mark = at_most(title + 'temporaries <= 2 of the input x (worst)', 2, memory)
    of_all = at_most('', 2, of_operands).figure
    yield dataclasses.replace(mark, figure=mark.figure + (f'; of x and kernels: {of_all}' if of_all else ''))


def head(found):
    """The instance head of CondInst."""
    facts = [f for f in found.cells if f['cell'] == 'condinst_head' and f['batch'] == 1]
    times = [1e3 * t for f in facts if (t := ratios.own(found, f['cell'], 1, FORWARD))]
    yield at_most('CondInst head, 100 instances, 100x168: <= 10 ms', 10, [('ms', t) for t in times])
    parts = [(direction, ratios.to(found, 'PyTorch', direction, facts).mean) for direction in (FORWARD, GRADIENT)]
    yield at_most("CondInst head: faster than PyTorch's grouped form", 1.0, parts, strict=True)


def compiling(found):
    """Seconds of compilation at the largest batch over those at 8."""
    values = []
    for direction in (FORWARD, GRADIENT):
        small, large = (
            {f['cell']: s for f, s in ratios.facts_of(found, 'compile_seconds', direction, 'chosen', facts)}
            for facts in ([f for f in found.cells if f['batch'] == batch] for batch in BATCHES)
        )
        values += [(large[cell] / small[cell], cell) for cell in small.keys() & large.keys()]
    mean, worst = geometric_mean(value for value, _ in values), max(values, default=(math.nan, ''))
    mark = at_most(f'compile time at B=32 <= {FLAT} of B=8', FLAT, [(f'geometric mean ({len(values)})', mean)])
    yield dataclasses.replace(mark, figure=mark.figure + (f'; worst: {worst[1]} {worst[0]:.2f}' if values else ''))


def failures(found):
    """The cells that failed before anything of them was measured: no other mark knows of them."""
    failed = of_kind(found, 'failed')
    if failed:
        yield Mark('no cell fails', ', '.join(f'{f["cell"]} B={f["batch"]}' for f in failed), False)


def _with_library_twin(mark, found, direction, facts):
    """What the networks take of a twin whose depthwise layers are as fast as theirs, beside the mark; no goal."""
    parts = ((f['cell'], ratios.to(found, LIBRARY_TWIN, direction, [f]).mean) for f in facts)
    more = ', '.join(f'{name} {value:.2f}' for name, value in parts if not math.isnan(value))
    more = f"; of the twin with this library's depthwise convolutions: {more}" if more else ''
    return dataclasses.replace(mark, figure=mark.figure + more)


def _networks(found, facts):
    for direction, title in ((TRAIN, 'training step'), (INFER, 'inference batch')):
        for program, limit in (('PyTorch', 0.9), ('static', 1.25)):
            parts = [(f['cell'], ratios.to(found, program, direction, [f]).mean) for f in facts]
            other = 'PyTorch mirror' if program == 'PyTorch' else 'static twin in plain nn.Conv'
            mark = at_most(f'networks, {title}: <= {limit} of the {other}', limit, parts)
            yield mark if program == 'PyTorch' else _with_library_twin(mark, found, direction, facts)
        own, static = (
            {f['cell']: (f, temp) for f, temp in ratios.facts_of(found, 'temp_bytes', direction, program, facts)}
            for program in ('chosen', 'static')
        )
        parts = [
            (cell, max(0, temp - f['mixed_kernel_bytes']) / max(1, static[cell][1]))
            for cell, (f, temp) in own.items()
            if cell in static
        ]
        yield at_most(f"networks, {title}: temporaries less one layer's kernels <= 1.5 of the twin's", 1.5, parts)
