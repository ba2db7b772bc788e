"""The log of a run as JSON lines: complete at any moment, and every step in it once, however often it was resumed."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.monitoring.speed import Speed

LOG = 'log.jsonl'


class JsonLines(Watcher):
    """Appends a line for every `log_every`-th step, every epoch, every start and every message.

    Each line is an object with `time` (UTC), `kind` ('start', 'step', 'epoch' or 'message'), `role` and `step` (from
    0; of an epoch: its last; of a start: the first to come; both are null in a message before the first start) and
    what the observer was told. A step has `epoch` (from 1) and `images_per_second` since the line before, too. JSON
    knows no NaN and no infinity: they are the texts 'nan', 'inf' and '-inf'.

    A start at step s removes this network's lines of steps >= s, and what a killed process left half written.
    """

    def __init__(self, path, log_every=50):
        self._path, self._log_every = Path(path), log_every
        self._role = self._step = None
        self._mended = False

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        """Forget what will be told again, and write a line of kind 'start'."""
        lines = self._mend(lambda line: line.get('role') != role or line['kind'] == 'message' or line['step'] < step)
        self._epochs = {line['epoch'] for line in lines if line.get('role') == role and line['kind'] == 'epoch'}
        self._role, self._step, self._per_epoch, self._speed = role, step, steps_per_epoch, Speed(batch_size)
        self._write('start', steps=steps, steps_per_epoch=steps_per_epoch, batch_size=batch_size)

    def stepped(self, step, figures):
        """Write a line if it is time for one."""
        self._step = step
        self._speed.stepped()
        if (step + 1) % self._log_every == 0:
            speed = self._speed.lap()
            self._write('step', epoch=step // self._per_epoch + 1, **figures, images_per_second=speed)

    def epoch_ended(self, record):
        """Write the record, unless an earlier process did, between the last step and the checkpoint of the epoch."""
        self._step = record['epoch'] * self._per_epoch - 1
        self._speed.restart()
        if record['epoch'] not in self._epochs:
            self._write('epoch', **record)

    def said(self, message):
        """Write the message."""
        self._write('message', message=message)

    def _write(self, kind, **values):
        if not self._mended:
            self._mend(lambda line: True)
        time = datetime.now(UTC).isoformat(timespec='milliseconds')
        line = {'time': time, 'kind': kind, 'role': self._role, 'step': self._step, **values}
        # Opened anew each time: the line is the file's when this returns, whatever happens to the process.
        with self._path.open('a', encoding='utf-8') as file:
            file.write(_encoded(line) + '\n')

    def _mend(self, wanted):
        """Keep, and return, the whole lines that are wanted; the file is replaced at once or not at all."""
        self._mended = True
        lines = [line for line in read(self._path) if wanted(line)]
        temporary = self._path.with_name(f'.{self._path.name}')
        temporary.write_text(''.join(f'{_encoded(line)}\n' for line in lines), encoding='utf-8')
        temporary.replace(self._path)
        return lines


def read(path):
    """The lines of a log, as dicts; [] without a file. Lines that are not whole are left out."""
    path = Path(path)
    lines = path.read_bytes().split(b'\n') if path.exists() else []
    return [line for line in map(_decoded, lines) if line is not None]


def _decoded(text):
    try:
        line = json.loads(text)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are
        return None
    return line if isinstance(line, dict) and 'kind' in line and 'step' in line else None


def _encoded(line):
    return json.dumps(plain(line), allow_nan=False, default=float)


def plain(value):
    """What JSON can hold: numbers that it does not know, however deep, become the texts 'nan', 'inf' and '-inf'.

    >>> plain({'history': [{'loss': float('nan')}]})
    {'history': [{'loss': 'nan'}]}
    """
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
