"""A run: all cells of a suite at all batches, results written as they come."""

import sys
import time

from flax_dynconv.bench import machine, measuring
from flax_dynconv.bench.results import Results
from flax_dynconv.bench.worker import Refused, Worker, WorkerDied

# The largest operands of a cell, as a part of the memory: gradients, temporaries and a second process follow.
MEMORY_SHARE = 1 / 20
# A form that is so many times slower than the choice is not tried again with a larger batch; these always are.
HOPELESS = 4
BASELINES = {*measuring.PRINCIPAL, 'reference', 'xla_unfold'}


def run(cells, args, load) -> tuple[Results, bool]:
    """(what was found, whether the run came to its end)."""
    memory = machine.memory_bytes()
    limits = measuring.Limits(rounds=args.rounds, seconds=args.seconds, cap=args.cap, memory=memory // 3)
    workers = [Worker('jax'), *([Worker('torch')] if args.peers else [])]
    start = time.monotonic()
    try:
        header = _header(args, load, workers)
        found = Results(header)
        try:
            for cell in cells:
                for batch in args.batch or cell.batches:
                    _one(found, cell, batch, workers, args, limits, memory * MEMORY_SHARE)
                    if args.json:
                        found.write(args.json)
            whole = True
        except KeyboardInterrupt:
            whole = False
    finally:
        for worker in workers:
            worker.stop()
    header |= {'load_after': round(machine.load(), 2), 'seconds': round(time.monotonic() - start), 'whole': whole}
    if args.json:
        found.write(args.json)
    return found, whole


def _header(args, load, workers):
    header = {'suite': args.suite, 'dtype': 'float32', 'load_before': round(load, 2), 'machine': machine.describe()}
    header['settings'] = {name: getattr(args, name) for name in ('forms', 'rounds', 'seconds', 'cap')}
    try:
        header |= {worker.framework: worker.ask('hello') for worker in workers}
    except (Refused, WorkerDied) as error:
        raise OSError(f'a process that measures does not start: {error}') from error
    if args.peers and header['jax']['platform'] != 'cpu':
        platform = header['jax']['platform']
        raise ValueError(f'--peers compares on a CPU, but JAX runs on {platform!r} here; set JAX_PLATFORMS=cpu')
    return header


def _one(found, cell, batch, workers, args, limits, most_bytes):
    facts = {'cell': cell.name, 'batch': batch}
    try:
        facts |= workers[0].ask('facts', suite=cell.suite, **facts)
        if facts['operand_bytes'] > most_bytes:
            facts['left_out'] = f'{facts["operand_bytes"] / 2**30:.1f} GiB of operands'
    except (Refused, WorkerDied) as error:
        facts |= {'kind': 'failed', 'left_out': str(error)}
    # Only now, so that an interrupted run has no cell without its facts.
    found.cells.append(facts)
    if 'left_out' in facts:
        _say(f'{cell.name} B={batch}: left out, {facts["left_out"]}')
        return

    def skip(key):
        program, direction = key.split('/')
        if args.no_vmap and program == 'reference':
            return '--no-vmap'
        return foreseen(found, cell.name, batch, direction, program, args.cap)

    rows, share = measuring.measure(cell, batch, workers, args.forms, limits, _say, skip)
    found.rows += rows
    facts |= share


def foreseen(found, cell, batch, direction, program, cap) -> str | None:
    """Why a program need not be tried, from what it took with the next smaller batch; None if it should be."""
    smaller = max((c['batch'] for c in found.cells if c['cell'] == cell and c['batch'] < batch), default=None)
    seconds, choice = (found.seconds(cell, smaller, direction, name) for name in (program, 'chosen'))
    if found.row(cell, smaller, direction, program) is None:
        return None
    if seconds is None:
        return f'left out with B={smaller}'
    if seconds * growth(program, smaller, batch) > cap:
        return f'takes more than {cap:.0f} s, by its time with B={smaller}'
    if program not in BASELINES and smaller > 1 and choice and seconds > HOPELESS * choice:
        return f'more than {HOPELESS} times as slow as the choice with B={smaller}'
    return None


def growth(program, smaller, batch) -> float:
    """How many times longer a program takes with the larger batch; careful with those that are slow for nothing."""
    ratio = batch / smaller
    if program == 'reference':
        # XLA's CPU compiler gives the weight gradient of a vmapped convolution B times the work.
        return ratio**2 if smaller == 1 else 2 * ratio
    return 2 * ratio if program == 'xla_unfold' else ratio


def _say(text):
    print(text, file=sys.stderr, flush=True)
