"""The log holds every step once, whatever happened to the process that wrote it."""

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from flax_dynconv.training.monitoring.json_lines import JsonLines, read
from tests.training.monitoring import told


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'log.jsonl'


def of(path, kind, role='dynamic'):
    return [line for line in read(path) if line['kind'] == kind and line['role'] == role]


def test_a_run_without_trouble(path):
    before = datetime.now(UTC)
    with JsonLines(path, log_every=2) as log:
        log.said('before')
        told.tell(log)
        log.said('between')
        told.tell(log, 'static')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for role in ('dynamic', 'static'):
        steps = of(path, 'step', role)
        assert [line['step'] for line in steps] == [1, 3, 5, 7, 9, 11]
        assert [line['epoch'] for line in steps] == [1, 1, 2, 2, 3, 3]
        for line in steps:
            assert told.figures(line['step']).items() <= line.items()
            assert line['images_per_second'] > 0
        epochs = of(path, 'epoch', role)
        assert [line['step'] for line in epochs] == [3, 7, 11]
        assert all(told.record(i + 1).items() <= line.items() for i, line in enumerate(epochs))
        start = {'step': 0, 'steps': 12, 'steps_per_epoch': 4, 'batch_size': 8}
        assert [start.items() <= line.items() for line in of(path, 'start', role)] == [True]
    messages = [(line['role'], line['step'], line['message']) for line in lines if line['kind'] == 'message']
    assert messages == [(None, None, 'before'), ('dynamic', 11, 'between')]
    times = [datetime.fromisoformat(line['time']) for line in lines]
    assert times == sorted(times)
    assert abs(times[0] - before).total_seconds() < 60


@pytest.mark.parametrize('checkpoint', range(told.STEPS + 1))
def test_a_resumed_log_is_that_of_a_run_without_trouble(path, tmp_path, checkpoint):
    """The process is killed at step 9 or later; the checkpoint is at most as new as that, and knows its epochs."""
    whole = tmp_path / 'whole.jsonl'
    told.tell(JsonLines(whole, 1))
    first = JsonLines(path, 1)
    told.tell(first, stop=max(9, checkpoint))
    first.said('about to be killed')
    told.tell(JsonLines(path, 1), start=checkpoint)

    def timeless(path, kind):
        return [{k: v for k, v in line.items() if k not in ('time', 'images_per_second')} for line in of(path, kind)]

    for kind in ('step', 'epoch'):
        assert timeless(path, kind) == timeless(whole, kind)
    assert [line['message'] for line in of(path, 'message')] == ['about to be killed']
    assert [line['step'] for line in of(path, 'start')] == sorted({0, checkpoint})


def test_an_epoch_that_is_told_again_is_there_once(path):
    """Killed after the epoch's line and before its checkpoint: that of the last step in the epoch is what is left."""
    told.tell(JsonLines(path, 1), stop=4)
    log = JsonLines(path, 1)
    log.started('dynamic', 4, told.STEPS, told.PER_EPOCH, told.BATCH)
    log.epoch_ended(told.record(1))
    log.epoch_ended(told.record(2))
    assert [line['epoch'] for line in of(path, 'epoch')] == [1, 2]


def test_an_epoch_that_was_not_told_is_added(path):
    told.tell(JsonLines(path, 1), stop=4, last_epoch=False)
    log = JsonLines(path, 1)
    log.started('dynamic', 4, told.STEPS, told.PER_EPOCH, told.BATCH)
    log.epoch_ended(told.record(1))
    assert [line['epoch'] for line in of(path, 'epoch')] == [1]


def test_another_network_keeps_its_lines(path):
    told.tell(JsonLines(path, 1))
    told.tell(JsonLines(path, 1), 'static', start=0)
    told.tell(JsonLines(path, 1), 'static', start=2)
    assert [line['step'] for line in of(path, 'step')] == list(range(12))
    assert [line['step'] for line in of(path, 'step', 'static')] == list(range(12))


@pytest.mark.parametrize('message_first', [False, True])
@pytest.mark.parametrize('cut', [1, 2, 30, 100])
def test_a_half_written_last_line_is_dropped(path, cut, message_first):
    told.tell(JsonLines(path, 1), stop=3)
    path.write_bytes(path.read_bytes()[:-cut])
    log = JsonLines(path, 1)
    if message_first:
        log.said('resumed')
    told.tell(log, start=2)
    assert [line['step'] for line in of(path, 'step')] == list(range(12))
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert len([line for line in read(path) if line['kind'] == 'message']) == message_first


def test_what_is_no_line_of_a_log_is_dropped(path):
    path.write_bytes(b'\x00\x00\xff\n[1]\n{"step": 1}\n3\n')
    JsonLines(path).said('mended')
    assert [line['message'] for line in read(path)] == ['mended']


def test_figures_that_json_does_not_know(path):
    log = JsonLines(path, 1)
    log.started('dynamic', 0, 12, 4, 8)
    log.stepped(0, {'loss': math.nan, 'gradient_norm': math.inf, 'temperature': -math.inf, 'rate': np.float32(0.5)})
    log.epoch_ended(told.record(1, train={'loss': math.nan}))
    (step,), (epoch,) = of(path, 'step'), of(path, 'epoch')
    assert (step['loss'], step['gradient_norm'], step['temperature'], step['rate']) == ('nan', 'inf', '-inf', 0.5)
    assert epoch['train']['loss'] == 'nan'


def test_a_log_that_is_not_there_is_empty(path):
    assert read(path) == []
