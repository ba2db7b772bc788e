"""Whether the machine is idle."""

import os
import subprocess
import sys
import time

import pytest

from flax_dynconv.bench import machine


def test_waiting_ends_when_the_load_is_low_or_time_is_up(monkeypatch):
    loads = iter([2.0, 2.0, 0.1, 0.1])
    monkeypatch.setattr(machine.time, 'sleep', lambda seconds: None)
    monkeypatch.setattr(machine, 'load', lambda: next(loads))
    assert machine.wait_until_idle(60) == 0.1
    monkeypatch.setattr(machine, 'load', lambda: 2.0)
    assert machine.wait_until_idle(0) == 2.0


def test_own_processes_are_not_others():
    """What a child burns is others' work to one who does not know it, and is not with its id, or once it has ended."""
    loop = 'import time\nend = time.monotonic() + 1.0\nwhile time.monotonic() < end: pass'
    both, alone = machine.Others(), machine.Others()
    if both.share() is None:
        pytest.skip('the kernel does not count')
    child = subprocess.Popen([sys.executable, '-c', loop])
    time.sleep(0.8)
    known, unknown = both.share([child.pid]), alone.share()
    child.wait()
    assert unknown - known > 0.2 / os.cpu_count()
    assert alone.share() < unknown
