"""Runs that are killed ten times, or asked to end, go on to the bits of a run in one piece.

Minutes long, so it has its own command:

    pytest -n 0 -m slow tests/training/test_survival.py -s
"""

import json
import os
import random
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from flax_dynconv.commands import runs
from flax_dynconv.models import MODELS
from flax_dynconv.training import run_folder
from flax_dynconv.training.tasks import create_task
from tests.training import tiny_run

pytestmark = pytest.mark.slow

RUN = ['--model', 'odconv_tiny_2x', '--width', '0.5', '--epochs', '4', '--batch-size', '64', '--seed', '3']
SAVING = ['--checkpoint-every', '3', '--keep', '2']
# Compiling takes most of the time; what it leaves out is left out in every start alike.
QUICK = {'XLA_FLAGS': '--xla_backend_optimization_level=0', 'JAX_PLATFORMS': 'cpu'}


@pytest.fixture(scope='module', autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        for name, constructor in tiny_run.NETWORKS.items():
            patch.setitem(MODELS, name, constructor)
        yield


def train(folder, *arguments, end=None):
    """The ended process, started with `end`, the moment and the signal."""
    environment = os.environ | QUICK | ({} if end is None else {'END': end})
    command = [sys.executable, '-m', 'tests.training.tiny_run', 'train', '--run-dir', str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def outcome(folder):
    """All that must not depend on interruptions: the arrays of both networks, the records, and the log's steps."""
    results = run_folder.read_results(folder)
    run = runs.open_run(folder)
    task = create_task(run.settings)
    states = {role: runs.restore(run, role, task, run.settings).state for role in run.networks}
    states = jax.tree.map(np.asarray, states)
    clocks = ('seconds', 'images_per_second')
    histories = {
        role: [
            {name: value for name, value in record.items() if name not in clocks} for record in results[role]['history']
        ]
        for role in states
    }
    lines = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    return states, histories, sum(line['kind'] == 'epoch' for line in lines)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole') / 'run'
    ended = train(folder, *RUN, *SAVING)
    assert ended.returncode == 0, ended.stderr
    return outcome(folder)


def assert_same(actual, expected):
    states, histories, epochs = actual
    for role, state in expected[0].items():
        assert jax.tree.structure(states[role]) == jax.tree.structure(state)
        for (path, a), b in zip(jax.tree.leaves_with_path(states[role]), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f'{role} {jax.tree_util.keystr(path)}')
    assert histories == expected[1]
    assert epochs == expected[2]


def test_ten_kills_leave_the_bits_as_they_are(uninterrupted, tmp_path):
    folder, chance = tmp_path / 'run', random.Random(0)
    kinds = [*tiny_run.MOMENTS, *tiny_run.MOMENTS]
    chance.shuffle(kinds)
    unfinished = 0
    for number, kind in enumerate(kinds):
        count = chance.randint(1, {'step': 12, 'save': 3}.get(kind, 1))
        end = f'{kind} {count} {chance.uniform(0, 0.06):.4f} SIGKILL'
        ended = train(folder, *([*RUN, *SAVING] if number == 0 else ['--resume']), end=end)
        assert ended.returncode == -signal.SIGKILL, (end, ended.returncode, ended.stderr)
        left = [path.name for path in folder.glob('checkpoints/*/*') if not path.name.isdigit()]
        unfinished += bool(left)
        print(f'kill {number + 1}: {end}; unfinished: {left}')
    ended = train(folder, '--resume')
    assert ended.returncode == 0, ended.stderr
    assert unfinished, 'no kill was in the middle of a save'
    assert_same(outcome(folder), uninterrupted)


def test_sigterm_anywhere_is_a_clean_end(uninterrupted, tmp_path):
    folder = tmp_path / 'run'
    for number, (end, step) in enumerate(
        [
            ('compile 1 0 SIGTERM', 0),
            ('step 5 0 SIGTERM', None),
            ('evaluation 1 0 SIGTERM', 21),
            ('step 30 0 SIGTERM', None),
        ]
    ):
        ended = train(folder, *([*RUN, *SAVING] if number == 0 else ['--resume']), end=end)
        assert ended.returncode == 128 + signal.SIGTERM, (end, ended.returncode, ended.stderr)
        assert 'ended by SIGTERM after step ' in ended.stderr
        assert 'go on with --resume' in ended.stderr
        if step is not None:
            assert f'after step {step};' in ended.stderr
        assert not (folder / run_folder.RESULTS).exists()
    ended = train(folder, '--resume')
    assert ended.returncode == 0, ended.stderr
    assert_same(outcome(folder), uninterrupted)
