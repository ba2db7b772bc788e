"""How a cell is measured, with processes that only pretend."""

import types

import pytest

from flax_dynconv.bench import measuring, running
from flax_dynconv.bench.worker import Refused, WorkerDied
from tests.bench.rows import add, results

CELL = types.SimpleNamespace(suite='ops', name='cell')
LIMITS = measuring.Limits(rounds=3, most=6, seconds=0.3, slow=1.0, cap=20.0, memory=1000)


class Pretender:
    """A worker whose programs take as long as it is told; an exception as a time is raised."""

    def __init__(self, framework, log, closed=None, **seconds):
        self.framework, self.log, self.closed, self.seconds = framework, log, closed, seconds
        self.process = types.SimpleNamespace(pid=1)

    def ask(self, do, timeout=None, key=None, count=None, **request):
        if do == 'open' and self.closed:
            raise self.closed
        if do == 'open':
            return {'programs': [f'{name}/forward' for name in self.seconds]}
        if do == 'build':
            self.process = types.SimpleNamespace(pid=1)
            declines = self.seconds[key.split('/')[0]] is None
            return {'declined': 'cannot'} if declines else {'facts': self.facts(key)}
        if do == 'run':
            self.log.append(key.split('/')[0])
            time = self.seconds[key.split('/')[0]]
            if isinstance(time, Exception):
                raise time
            return {'seconds': [time] * count}
        return {}

    def facts(self, key):
        return {'temp_bytes': 2000 if key.startswith('large') else 0}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(measuring, 'HAND_OVER', {'torch': 0, 'jax': 0})


def measured(*workers, **more):
    rows, _ = measuring.measure(CELL, 8, workers, 'all', LIMITS, **more)
    return {row['program']: row for row in rows}


def test_both_processes_work_in_turns():
    log = []
    rows = measured(Pretender('jax', log, chosen=0.1, static=0.1), Pretender('torch', log, torch_grouped=0.1))
    # Two runs of each to see how long it takes; then turns.
    assert log[6:] == ['chosen', 'static', 'torch_grouped'] * 3
    assert rows['chosen']['median'] == 0.1
    assert rows['torch_grouped']['samples'] == 3


def test_short_programs_run_several_times_in_a_turn_and_long_ones_rarely():
    rows = measured(Pretender('jax', [], chosen=0.001, static=1.5, patches=0.05, reference=15.0))
    assert rows['chosen']['samples'] == 6 * 20
    assert rows['static']['samples'] == 3
    assert rows['patches']['samples'] == rows['reference']['samples'] == 1
    assert rows['reference']['quartiles'] is None


def test_vmap_runs_after_all_others():
    log = []
    measured(Pretender('jax', log, reference=0.5, chosen=0.1), Pretender('torch', log, torch_grouped=0.1))
    assert log[-2:] == ['reference'] * 2 and log.count('reference') == 2


def test_what_is_left_out_says_why():
    rows = measured(
        Pretender('jax', [], chosen=0.1, declining=None, large=0.1, broken=Refused('ValueError: no'), skipped=0.1),
        skip=lambda key: 'not today' if key.startswith('skipped') else None,
    )
    assert 'declining' not in rows
    assert 'needs' in rows['large']['left_out']
    assert rows['broken']['left_out'] == 'ValueError: no'
    assert rows['skipped']['left_out'] == 'not today'
    assert 'median' in rows['chosen']


def test_the_choice_and_its_peers_must_not_decline():
    rows = measured(Pretender('jax', [], chosen=None, static=0.1), Pretender('torch', [], torch_grouped=None))
    assert rows['chosen']['left_out'] == rows['torch_grouped']['left_out'] == 'cannot'


def test_a_lost_process_costs_one_program():
    late, died = WorkerDied('took more than 20 s'), WorkerDied('the jax process ended with -9: Killed')
    rows = measured(Pretender('jax', [], chosen=0.1, grouped=late, loop=died))
    assert rows['grouped']['at_least'] == 20.0
    assert rows['loop']['left_out'] == 'the jax process ended with -9: Killed'
    assert rows['chosen']['samples'] == 3


def test_a_cell_that_cannot_be_opened_is_a_failure_of_the_choice():
    rows, _ = measuring.measure(CELL, 8, [Pretender('jax', [], Refused('ImportError: x'))], 'all', LIMITS)
    assert [(r['program'], r['direction'], r['left_out']) for r in rows] == [
        ('chosen', 'forward', 'ImportError: x'),
        ('chosen', 'gradient', 'ImportError: x'),
    ]


def test_larger_batches_are_foreseen():
    found = add(results(), 'a', 8, chosen=0.1, reference=3.0, grouped=0.5, patches=0.3, static=0.5)
    found.rows.append({'cell': 'a', 'batch': 8, 'direction': 'gradient', 'program': 'loop', 'left_out': 'too big'})

    def foreseen(program):
        return running.foreseen(found, 'a', 32, 'gradient', program, 20.0)

    assert 'takes more than 20 s' in foreseen('reference')
    assert 'more than 4 times as slow as the choice' in foreseen('grouped')
    assert foreseen('loop') == 'left out with B=8'
    assert foreseen('patches') is foreseen('static') is foreseen('new') is None
