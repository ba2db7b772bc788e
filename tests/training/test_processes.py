"""Real processes over loopback: two and four give the numbers of one, and act as one."""

import functools
import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.sharding import PRESETS
from tests.tolerances import assert_close
from tests.training import host


@functools.cache
def on_one_device():
    return host.trained('replicate', jax.devices()[:1])


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        (assert_close if b.dtype.kind == 'f' else np.testing.assert_array_equal)(a, b)


def started(folder, processes, devices):
    """What each process says at its end."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        coordinator = f'127.0.0.1:{free.getsockname()[1]}'
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    command = [sys.executable, '-m', 'tests.training.host', str(folder), coordinator, str(processes)]
    running = [
        subprocess.Popen(
            [*command, str(process), str(devices)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        for process in range(processes)
    ]
    try:
        ended = [process.communicate(timeout=400) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, ended, strict=True):
        assert process.returncode == 0, errors.decode()[-3000:]
    return [json.loads(output.decode().splitlines()[-1]) for output, _ in ended]


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
