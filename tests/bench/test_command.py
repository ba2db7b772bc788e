"""The command with real processes, its files and its mistakes."""

import json
import sys
import types

import pytest

from flax_dynconv import cli
from flax_dynconv.bench import bench_cli, machine, measuring, results, running
from flax_dynconv.bench.worker import Refused, Worker, WorkerDied

QUICK = ['--seconds', '0.01', '--rounds', '1', '--batch', '1']


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    monkeypatch.setattr(machine, 'load', lambda: 0.0)


def test_operators_beside_pytorch(tmp_path, capfd):
    pytest.importorskip('torch')
    out = tmp_path / 'out.json'
    only = ['--only', 'dfn_stereo_1x13', '--forms', 'chosen', '--peers']
    assert cli.main(['bench', *QUICK, *only, '--json', str(out)]) == 0
    printed = capfd.readouterr()
    assert '| dfn_stereo_1x13 | 1 |' in printed.out
    assert '## Marks' in printed.out
    assert 'dfn_stereo_1x13 B=1 gradient: chosen' in printed.err
    assert 'warning' not in printed.err
    found = results.read(out)
    assert found.header['whole']
    assert found.header['torch']['threads'] >= 1
    programs = {'chosen', 'reference', 'static', 'xla_unfold', 'torch_unfold', 'torch_static'}
    for direction in ('forward', 'gradient'):
        assert {row['program'] for row in found.rows if row['direction'] == direction} == programs
    assert all(row['median'] > 0 and row['samples'] >= 1 for row in found.rows)
    chosen = found.row('dfn_stereo_1x13', 1, 'gradient', 'chosen')
    assert chosen['facts']['compile_seconds'] > 0
    assert found.facts('dfn_stereo_1x13', 1)['form'] == 'taps'


def test_a_network(capfd):
    assert cli.main(['bench', '--suite', 'models', '--only', 'odconv_resnet8_1x', *QUICK]) == 0
    out = capfd.readouterr().out
    assert '## Training step' in out
    assert '## Inference batch' in out
    assert '| odconv_resnet8_1x | 1 |' in out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--only', 'resnet19*'], "--only: no cell of the suite 'ops' matches 'resnet19*'; there are resnet18_56x56,"),
        (
            ['--suite', 'models', '--only', 'vgg'],
            "no cell of the suite 'models' matches 'vgg'; there are ",
        ),
        (['--compare', 'nothing.json'], 'nothing.json'),
        (['--json', 'no/such/folder/out.json'], 'no/such/folder'),
        (['--json', '.'], '--json: expected a file, . is a folder'),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert cli.main(['bench', *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith('flax-dynconv bench: error: ')
    assert message in error[0]


def test_without_torch(monkeypatch, capsys):
    monkeypatch.setattr(bench_cli.importlib.util, 'find_spec', lambda name: None)
    assert cli.main(['bench', '--peers']) == 2
    assert 'torch is not installed; --peers runs it: pip install torch' in capsys.readouterr().err


def test_results_of_something_else_are_refused(tmp_path):
    path = tmp_path / 'x.json'
    damaged = '{"version": 1, "header": {}, "cells": [], "rows": [{"median": 1}]}'
    for content in ('{}', '[1]', '{"version": 9}', 'no json', damaged):
        path.write_text(content)
        with pytest.raises(ValueError, match='no results of `flax-dynconv bench --json`'):
            results.read(path)


def test_a_busy_machine_is_said(monkeypatch, capsys):
    monkeypatch.setattr(machine, 'load', lambda: 3.0)
    monkeypatch.setattr(running, 'run', lambda *_: (results.Results({}), True))
    monkeypatch.setattr('flax_dynconv.bench.tables.report', lambda *_: '')
    assert cli.main(['bench']) == 0
    assert 'warning: the machine is not idle (load 3.0)' in capsys.readouterr().err


def test_an_interrupted_run_keeps_what_it_has(monkeypatch, tmp_path):
    def measure(cell, batch, *_):
        if cell.name == 'b':
            raise KeyboardInterrupt
        return [{'cell': cell.name, 'batch': batch, 'direction': 'forward', 'program': 'chosen', 'median': 1.0}], {}

    class Pretender:
        framework = 'jax'

        def __init__(self, _):
            pass

        def ask(self, do, **_):
            return {'version': '1', 'threads': 1, 'platform': 'cpu', 'operand_bytes': 1}

        def stop(self):
            pass

    monkeypatch.setattr(measuring, 'measure', measure)
    monkeypatch.setattr(running, 'Worker', Pretender)
    names = [types.SimpleNamespace(name=name, suite='ops', batches=(1,)) for name in 'abc']
    out = tmp_path / 'out.json'
    parsed = {'suite': 'ops', 'peers': False, 'json': str(out), 'batch': None, 'forms': 'all', 'rounds': 1}
    args = types.SimpleNamespace(**parsed, seconds=0.1, cap=1.0, no_vmap=False)
    found, whole = running.run(names, args, 0.0)
    assert not whole
    assert results.read(out).rows == found.rows != []
    assert json.loads(out.read_text())['header']['whole'] is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ['out.json']


def test_a_process_refuses_dies_and_is_started_again():
    worker = Worker('jax')
    try:
        assert worker.ask('close') == {}
        with pytest.raises(Refused, match=r'KeyError: .no such cell'):
            worker.ask('open', suite='ops', cell='no such cell', batch=1, forms='all')
        worker.process.kill()
        with pytest.raises(WorkerDied, match='the jax process ended with -9'):
            worker.ask('close')
        assert worker.ask('close') == {}
    finally:
        worker.stop()


def test_a_process_runs_the_package_of_its_parent(monkeypatch, tmp_path):
    (tmp_path / 'flax_dynconv').mkdir()
    (tmp_path / 'flax_dynconv' / '__init__.py').write_text('raise SystemExit(7)')
    monkeypatch.chdir(tmp_path)
    worker = Worker('jax')
    try:
        assert worker.ask('close') == {}
    finally:
        worker.stop()


def test_a_process_that_takes_too_long_is_ended(monkeypatch, tmp_path):
    script = tmp_path / 'python'
    script.write_text('#!/bin/sh\nexec sleep 60\n')
    script.chmod(0o700)
    monkeypatch.setattr(sys, 'executable', str(script))
    worker = Worker('jax')
    with pytest.raises(WorkerDied, match='took more than 0 s'):
        worker.ask('close', timeout=0.2)
    assert worker.process is None


def test_a_process_that_does_not_start_says_why(monkeypatch, tmp_path, capsys):
    script = tmp_path / 'python'
    script.write_text('#!/bin/sh\nread line; echo no jax here >&2; exit 3\n')
    script.chmod(0o700)
    monkeypatch.setattr(sys, 'executable', str(script))
    with pytest.raises(WorkerDied, match='the jax process ended with 3: no jax here'):
        Worker('jax').ask('close')
    assert cli.main(['bench', '--only', 'dcm_1x1']) == 2
    error = 'error: a process that measures does not start: the jax process ended with 3: no jax here'
    assert error in capsys.readouterr().err
