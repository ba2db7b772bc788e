"""Real processes over loopback: two and four give the numbers of one, and act as one."""

import functools
import json
import os
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.sharding import PRESETS
from tests.tolerances import assert_close
from tests.training import host

pytestmark = pytest.mark.usefixtures('compiled_once')

# Compiling takes most of the time.
QUICK = '--xla_backend_optimization_level=0'


@functools.cache
def on_one_device():
    return host.trained('replicate', jax.devices()[:1])


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        (assert_close if b.dtype.kind == 'f' else np.testing.assert_array_equal)(a, b)


def address():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return f'127.0.0.1:{free.getsockname()[1]}'


def ended(commands):
    """(exit code, output, errors) of processes that run together."""
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    running = [subprocess.Popen(command, env=os.environ | {'XLA_FLAGS': QUICK}, **pipes) for command in commands]
    try:
        said = [process.communicate(timeout=400) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(running, said, strict=True)]


def started(folder, processes, devices):
    """What each process says at its end."""
    command = [sys.executable, '-m', 'tests.training.host', str(folder), address(), str(processes)]
    said = ended([[*command, str(process), str(devices)] for process in range(processes)])
    assert [code for code, *_ in said] == [0] * processes, [errors[-3000:] for *_, errors in said]
    return [json.loads(output.splitlines()[-1]) for _, output, _ in said]


def loaded(file):
    with np.load(file) as arrays:
        return list(arrays.values())


@pytest.mark.parametrize(('processes', 'devices'), [(2, 2), (4, 1)])
def test_several_processes_give_the_numbers_of_one(processes, devices, tmp_path):
    said = started(tmp_path, processes, devices)
    state, summaries = on_one_device()
    expected = jax.tree.leaves(state)
    assert [each['first'] for each in said] == [True] + [False] * (processes - 1)
    for preset in PRESETS:
        assert_same(loaded(tmp_path / f'{preset}.npz'), expected)
        for each in said:
            assert each['devices'] == processes * devices
            for (train, test, norm), (one_train, one_test, one_norm) in zip(
                each[preset]['summaries'], summaries, strict=True
            ):
                assert train == pytest.approx(one_train, rel=1e-5)
                assert test == pytest.approx(one_test, rel=1e-5)
                assert norm == pytest.approx(one_norm, rel=1e-5)
        # Only the first writes logs.
        assert [each[preset]['told'] for each in said] == [6] + [0] * (processes - 1)
    if processes > 2:
        return
    # All stopped after the same step, though one alone had the signal, and ended with the bits of a run in one piece.
    assert len({each['interrupted'] for each in said}) == 1
    assert 0 < said[0]['interrupted'] < 6
    for a, b in zip(loaded(tmp_path / 'resumed.npz'), loaded(tmp_path / 'fsdp.npz'), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(('before', 'after'), [(('fsdp', 8), ('expert', 4)), (('expert', 4), ('replicate', 1))])
def test_another_mesh_goes_on_from_a_checkpoint(before, after, tmp_path):
    state, summaries = on_one_device()
    (first, many), (second, few) = before, after
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(host.Interrupted):
            host.trained(first, jax.devices()[:many], checkpoints=checkpoints, interruption=host.Switch(4))
        resumed, again = host.trained(second, jax.devices()[:few], checkpoints=checkpoints)
    assert_same(jax.tree.leaves(resumed), jax.tree.leaves(state))
    assert again[1][1] == pytest.approx(summaries[1][1], rel=1e-5)


BROKEN = """
import sys
from flax_dynconv import cli
from flax_dynconv.training.plan import Plan
from flax_dynconv.models import MODELS
from tests.training import tiny_run

MODELS.update(tiny_run.NETWORKS)
batches = Plan.batches

def broken(self, split, *args, **kwargs):
    for number, batch in enumerate(batches(self, split, *args, **kwargs)):
        if sys.argv[-1] == '1' and number == 5:
            raise ValueError('an image that this host alone cannot read')
        yield batch

Plan.batches = broken
sys.exit(cli.main())
"""


@pytest.mark.slow
def test_an_error_on_one_host_ends_the_others(tmp_path):
    """Within about a minute: those that train wait for it in a step, where they hear nothing."""
    network = ['--model', 'tiny', '--width', '0.5', '--epochs', '1', '--batch-size', '64']
    hosts = ['--run-dir', str(tmp_path / 'run'), '--coordinator', address(), '--num-processes', '2', '--process-id']
    command = [sys.executable, '-c', BROKEN, 'train', *network, *hosts]
    start = time.monotonic()
    (first, _, others), (code, _, errors) = ended([[*command, '0'], [*command, '1']])
    assert 'flax-dynconv train: error: an image that this host alone cannot read' in errors
    assert first != 0 and code != 0
    assert 'another task died' in others
    assert time.monotonic() - start < 240
