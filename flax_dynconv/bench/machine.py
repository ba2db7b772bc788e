"""What a table has to say about the machine, and whether anything else was running on it."""

import os
import platform
import time
from pathlib import Path

IDLE_LOAD = 0.5
# Variables that change what is measured.
FLAGS = ('XLA_FLAGS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'ONEDNN_MAX_CPU_ISA', 'KMP_BLOCKTIME', 'KMP_AFFINITY')


def describe() -> dict:
    """Processor, cores, memory, and what the environment says about threads and compilers."""
    machine = {'processor': _processor(), 'cores': cores(), 'memory_bytes': memory_bytes()}
    return machine | {'system': platform.system(), 'environment': {n: os.environ[n] for n in FLAGS if n in os.environ}}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def memory_bytes() -> int:
    """Physical memory."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def load() -> float:
    """Processes that wanted a core, averaged over the last minute."""
    return os.getloadavg()[0]


def wait_until_idle(seconds: float) -> float:
    """Wait until the load is below `IDLE_LOAD`, at most `seconds`; the load then."""
    end = time.monotonic() + seconds
    while load() >= IDLE_LOAD and time.monotonic() < end:
        time.sleep(min(5.0, max(0.0, end - time.monotonic())))
    return load()


class Others:
    """The share of the cores that other processes used since the object was made, from the kernel's counters.

    `share(pids)` subtracts the time of this process and of `pids`; None where the kernel does not count.
    """

    def __init__(self, pids=()):
        self.time, self.busy, self.own = time.monotonic(), _busy(), _own(pids)

    def share(self, pids=()) -> float | None:
        """Between 0 and 1, 1 being all cores."""
        busy, own = _busy(), _own(pids)
        if None in (busy, own, self.busy, self.own):
            return None
        capacity = (time.monotonic() - self.time) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, (busy - self.busy - (own - self.own)) / max(capacity, 1e-9)))


def _processor():
    for line in _lines('/proc/cpuinfo'):
        if line.startswith('model name'):
            return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()


def _lines(path):
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _busy():
    """Seconds of all cores that were not idle: user, nice, system, interrupts."""
    for line in _lines('/proc/stat'):
        if line.startswith('cpu '):
            user, nice, system, _, _, *interrupts = map(int, line.split()[1:8])
            return (user + nice + system + sum(interrupts)) / os.sysconf('SC_CLK_TCK')
    return None


def _own(pids):
    """Seconds of this process and of others by id, with those of their children that have ended."""
    total = 0
    for pid in (os.getpid(), *pids):
        fields = ' '.join(_lines(f'/proc/{pid}/stat')).rpartition(')')[2].split()
        if len(fields) < 15:
            return None
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf('SC_CLK_TCK')
