"""One cell: its programs built one by one, then run in turns by both processes, of which only one works at a time."""

import contextlib
import dataclasses
import math
import time

from flax_dynconv.bench import machine, statistics
from flax_dynconv.bench.program import DIRECTIONS
from flax_dynconv.bench.worker import Refused, WorkerDied

# PyTorch keeps its default thread settings, under which its OpenMP threads spin for 4 to 6 ms after work: JAX's turn
# begins when that is over. JAX's threads do not spin.
HAND_OVER = {'torch': 0.008, 'jax': 0.0}
# Runs of a program in one turn take about this long; those shorter than it get one uncounted run first.
TURN = 0.02
# Measured after all others and not in turns with them: tens of times slower, and it may cost the process its life.
ALONE = 'reference'
# Of which the ratios are.
PRINCIPAL = {
    'chosen',
    'plain',
    'static',
    'torch_grouped',
    'torch_official',
    'torch_unfold',
    'torch_static',
    'library_twin',
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long to measure: a program gets between `rounds` and `most` turns, within `seconds` if it can.

    Forms that are there for comparison get a third of that. Of a program that takes longer than `slow` seconds, and of
    such a form that takes three times as long as the choice, the first run may be all. One that takes longer than
    `cap` is broken off, one that needs more than `memory` bytes is left out.
    """

    rounds: int = 5
    most: int = 11
    seconds: float = 0.5
    slow: float = 1.0
    cap: float = 20.0
    memory: int = 8 << 30


@dataclasses.dataclass
class Measured:
    """A program under measurement."""

    worker: object
    key: str
    first: float = 0.0
    facts: dict = dataclasses.field(default_factory=dict)
    samples: list = dataclasses.field(default_factory=list)
    turns: int = 0
    outcome: dict = dataclasses.field(default_factory=dict)


def measure(cell, batch, workers, forms, limits, say=lambda text: None, skip=lambda key: None):
    """(rows, further facts) of one cell, the workers asked in turns.

    `skip(key)` is a reason to leave a program out, or None.
    """
    others = machine.Others(_pids(workers))
    rows, keys = [], {}
    for worker in workers:
        try:
            keys[worker] = _opened(worker, cell, batch, forms)
        except (Refused, WorkerDied) as error:
            keys[worker] = []
            name = 'chosen' if worker.framework == 'jax' else 'torch'
            failed = (f'{name}/{direction}' for direction in DIRECTIONS[cell.suite])
            rows += [_row(cell, batch, key, worker, {'left_out': str(error)}) for key in failed]
    for direction in dict.fromkeys(key.split('/')[1] for names in keys.values() for key in names):
        programs = [Measured(w, key) for w, names in keys.items() for key in names if key.endswith('/' + direction)]
        alone = [p for p in programs if p.key.startswith(ALONE)]
        for together in ([p for p in programs if p not in alone], alone):
            for program in together:
                _prepare(program, cell, batch, forms, limits, skip(program.key))
            choice = next((p.first for p in programs if p.key.startswith('chosen/')), math.inf)
            for program in together:
                program.turns = _wanted_turns(program, limits, choice)
            _take_turns([p for p in together if not p.outcome], limits, cell, batch, forms)
        programs = [p for p in programs if 'declined' not in p.outcome]
        rows += [_row(cell, batch, p.key, p.worker, _outcome(p)) for p in programs]
        say(f'{cell.name} B={batch} {direction}: ' + ', '.join(map(_said, programs)))
    for worker in workers:
        if worker.process is not None:
            with contextlib.suppress(Refused, WorkerDied):
                worker.ask('close')
    share = others.share(_pids(workers))
    return rows, {} if share is None else {'others': round(share, 3)}


def _pids(workers):
    return [w.process.pid for w in workers if w.process is not None]


def _opened(worker, cell, batch, forms):
    return worker.ask('open', suite=cell.suite, cell=cell.name, batch=batch, forms=forms)['programs']


def _prepare(program, cell, batch, forms, limits, reason):
    """Build it and run it once; `outcome` is set where there is nothing more to measure."""
    worker, built = program.worker, False
    if reason is not None:
        program.outcome = {'left_out': reason}
        return
    try:
        if worker.process is None:
            _opened(worker, cell, batch, forms)
        answer = worker.ask('build', key=program.key, timeout=4 * limits.cap)
        if 'declined' in answer:
            # Forms decline; where the choice or what it is compared with does, that is a failure.
            principal = program.key.split('/')[0] in PRINCIPAL
            program.outcome = {'left_out': answer['declined']} if principal else answer
            return
        program.facts, built = answer['facts'], True
        needed = sum(program.facts.get(name, 0) for name in ('temp_bytes', 'held_bytes'))
        if needed > limits.memory:
            program.outcome = {'left_out': f'needs {needed / 2**30:.0f} GiB'}
            return
        run = {'key': program.key, 'count': 1, 'settle': 0, 'timeout': limits.cap}
        program.first = worker.ask('run', **run)['seconds'][0]
        if program.first < limits.slow:
            # The first run touches new memory: of the second follows how often the program is run.
            program.first = worker.ask('run', **run)['seconds'][0]
    except Refused as error:
        program.outcome = {'left_out': str(error)}
    except WorkerDied as error:
        late = 'took more than' in str(error)
        program.outcome = {'at_least': limits.cap} if late and built else {'left_out': str(error)}


def _take_turns(programs, limits, cell, batch, forms):
    """Rounds in which every program that is due runs; a program of few turns has them spread over all rounds."""
    for program in programs:
        if not program.turns:
            program.samples.append(program.first)
    rounds = max((p.turns for p in programs), default=0)
    last = None
    for i in range(rounds):
        for program in programs:
            if (i + 1) * program.turns // rounds == i * program.turns // rounds or program.outcome:
                continue
            if program.worker is not last:
                time.sleep(HAND_OVER['torch' if last is None else last.framework])
                last = program.worker
            try:
                if program.worker.process is None:
                    _opened(program.worker, cell, batch, forms)
                program.samples += _turn(program, limits)
            except (WorkerDied, Refused) as error:
                program.outcome = {'left_out': str(error)}


def _wanted_turns(program, limits, choice):
    """0 for a program that has run long enough already; `choice` are the seconds of the choice's first run."""
    share = 1 if program.key.split('/')[0] in PRINCIPAL else 3
    if share > 1 and program.first > max(3 * choice, TURN):
        return 0
    if program.first > limits.slow:
        return -(-limits.rounds // share) if program.first < limits.cap / 8 else int(program.first < limits.cap / 4)
    wanted = limits.seconds / share / max(program.first, TURN)
    return min(limits.most, max(-(-limits.rounds // share), round(wanted)))


def _turn(program, limits):
    count = max(1, min(20, round(TURN / max(program.first, 1e-5))))
    request = {'key': program.key, 'count': count, 'settle': int(program.first < TURN), 'timeout': 4 * limits.cap}
    return program.worker.ask('run', **request)['seconds']


def _outcome(program):
    facts = {'facts': program.facts} if program.facts else {}
    if program.outcome or not program.samples:
        return facts | (program.outcome or {'left_out': 'no run'})
    spread = statistics.quartiles(program.samples)
    return facts | {
        'median': statistics.median(program.samples), 'quartiles': spread and list(spread),
        'samples': len(program.samples),
    }  # fmt: skip


def _row(cell, batch, key, worker, outcome):
    program, _, direction = key.partition('/')
    head = {'suite': cell.suite, 'cell': cell.name, 'batch': batch, 'direction': direction, 'program': program}
    return head | {'framework': worker.framework} | outcome


def _said(program):
    outcome = _outcome(program)
    if 'median' in outcome:
        return f'{program.key.split("/")[0]} {1e3 * outcome["median"]:.3g} ms'
    return f'{program.key.split("/")[0]} ' + outcome.get('left_out', f'> {outcome.get("at_least", 0):.0f} s')
