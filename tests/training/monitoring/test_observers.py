"""Observers pass everything on, in the first process only; a run's settings choose who watches."""

import jax
import pytest

from flax_dynconv.training.monitoring import Observers, Watcher
from flax_dynconv.training.monitoring.speed import Speed
from flax_dynconv.training.monitoring.watch import watch
from flax_dynconv.training.settings import Settings
from tests.training.monitoring import told


class Recorder(Watcher):
    def __init__(self, calls, name='', broken=False):
        self.calls, self.name, self.broken = calls, name, broken

    def started(self, *arguments):
        self.calls.append((self.name, 'started', *arguments))

    def stepped(self, *arguments):
        self.calls.append((self.name, 'stepped', *arguments))

    def epoch_ended(self, *arguments):
        self.calls.append((self.name, 'epoch_ended', *arguments))

    def said(self, *arguments):
        self.calls.append((self.name, 'said', *arguments))

    def closed(self):
        self.calls.append((self.name, 'closed'))
        if self.broken:
            raise OSError('disk full')


def tell_all(observer):
    observer.started('static', 3, 40, 10, 64)
    observer.stepped(3, {'loss': 1.0})
    observer.epoch_ended({'epoch': 1})
    observer.said('hello')


EXPECTED = [
    ('started', 'static', 3, 40, 10, 64),
    ('stepped', 3, {'loss': 1.0}),
    ('epoch_ended', {'epoch': 1}),
    ('said', 'hello'),
]


def test_all_observers_hear_everything_in_order():
    calls = []
    with Observers([Recorder(calls, 'a'), Recorder(calls, 'b')]) as observers:
        tell_all(observers)
    assert calls == [(name, *call) for call in EXPECTED for name in 'ab'] + [('b', 'closed'), ('a', 'closed')]


def test_the_empty_observer_takes_every_call():
    with Watcher() as watcher:
        tell_all(watcher)


def test_an_error_while_closing_reaches_the_caller_and_all_are_closed():
    calls = []
    with pytest.raises(OSError, match='disk full'):
        Observers([Recorder(calls, 'a'), Recorder(calls, 'b', broken=True)]).closed()
    assert calls == [('b', 'closed'), ('a', 'closed')]


def test_observers_are_closed_after_an_error():
    calls = []
    with pytest.raises(ZeroDivisionError), Observers([Recorder(calls)]):
        raise ZeroDivisionError
    assert calls == [('', 'closed')]


def test_other_processes_write_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, 'process_index', lambda: 1)
    with watch(Settings().updated(tensorboard=True, log_every=1), tmp_path, 'accuracy') as observers:
        observers.said('hello')
        told.tell(observers)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('tensorboard', [False, True])
def test_settings_choose_what_is_written(tensorboard, tmp_path, capsys):
    with watch(Settings().updated(tensorboard=tensorboard, log_every=2), tmp_path, 'accuracy') as observers:
        told.tell(observers, stop=told.PER_EPOCH)
    assert {path.name for path in tmp_path.iterdir()} == {'log.jsonl', 'curves.png'} | (
        {'tensorboard'} if tensorboard else set()
    )
    assert (tmp_path / 'log.jsonl').read_text().count('"kind": "step"') == 2
    assert capsys.readouterr().err.startswith('dynamic epoch 1/3: loss 1.500, test accuracy 25.00 %, 1234 images/s')


def test_speed_counts_steps_between_looks_only():
    now = [0.0]
    speed = Speed(10, clock=lambda: now[0])
    assert speed.lap() is None
    for time in (100.0, 101.0, 102.0):  # the time before the first step is none of theirs
        now[0] = time
        speed.stepped()
    assert speed.seconds == 2.0
    assert speed.lap() == 10.0
    now[0] = 102.5
    speed.stepped()
    assert speed.lap() == 20.0
    speed.restart()
    now[0] = 1000.0
    speed.stepped()
    assert speed.lap() is None
    now[0] = 1001.0
    speed.stepped()
    assert speed.lap() == 10.0
