"""The folder of a run: where it lies, what is in it, and when it may be written to."""

import contextlib
import datetime
import itertools
import json
import os
import shutil
import socket
from pathlib import Path

from flax_dynconv.training import agreement

CONFIG, RESULTS, PICTURE, CHECKPOINTS = 'config.json', 'results.json', 'picture.png', 'checkpoints'
LOCK, _TRIAL, BAD_IMAGES = '.lock', '.writable', 'bad_images.jsonl'
# What a process that is killed may leave behind without having begun a run.
_PASSING = (LOCK, _TRIAL, f'.{CONFIG}')
RUNS = Path('runs')
# What a run writes, the logs of `monitoring` included: all that overwriting removes.
WRITTEN = (CONFIG, RESULTS, PICTURE, CHECKPOINTS, BAD_IMAGES, 'log.jsonl', 'curves.png', 'tensorboard')


class InUse(OSError):
    """Another process writes into the folder."""


@contextlib.contextmanager
def opened(path=None, overwrite=False, resume=False, needed_bytes=0, name='digits'):
    """A folder for a run, its own as long as the context lasts; where none is named, the first free `runs/NAME[-N]`.

    Nothing but the end of the process or of the context frees it, and any end does. Of several processes, which all
    call this, the first one looks, locks and creates. Raises, before anything is changed:

    * `InUse` if another process has it, named by its number and host;
    * FileExistsError if it is not empty, unless `overwrite`, which removes an earlier run's files and nothing else, or
      `resume`; and if it is no folder;
    * FileNotFoundError for `resume` where there is no run;
    * OSError if it cannot be written to, or the disk has not `needed_bytes` for the checkpoints.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent, opened(f'{parent}/run') as folder:
    ...     write_config(folder, {'seed': 1})
    ...     read_config(folder)
    {'seed': 1}
    """
    if resume and overwrite:
        raise ValueError('resume and overwrite exclude each other')
    if resume and path is None:
        raise ValueError('resume needs a run-dir: which run?')
    with contextlib.ExitStack() as stack:
        yield agreement.from_first(lambda: _open(stack, path, overwrite, resume, needed_bytes, name))


def _open(stack, path, overwrite, resume, needed_bytes, name):
    if path is not None:
        return _prepared(stack, Path(path), overwrite, resume, needed_bytes)
    for number in itertools.count(1):
        path = RUNS / (name if number == 1 else f'{name}-{number}')
        if not _occupied(path) and not path.is_file():
            try:
                return _prepared(stack, path, overwrite, resume, needed_bytes)
            except InUse:
                continue  # By a run that has just been started, too.


def _prepared(stack, path, overwrite, resume, needed_bytes):
    if path.exists() and not path.is_dir():
        raise FileExistsError(f'run-dir must be a folder, {path} is a file')
    # A folder that is none of ours gets no lock file.
    if (path / LOCK).is_file():
        stack.enter_context(_lock(path))
    if resume and not (path / CONFIG).is_file():
        raise FileNotFoundError(f'run-dir {path} holds nothing to resume: there is no {CONFIG} in it')
    if _occupied(path) and not (overwrite or resume):
        raise FileExistsError(f'run-dir {path} is not empty; name another one, or pass --resume or --overwrite')
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not (path / LOCK).is_file():
            stack.enter_context(_lock(path))
        trial = path / _TRIAL
        trial.touch()
        trial.unlink()
    except InUse:
        raise
    except OSError as error:
        raise OSError(error.errno, f'run-dir {path} cannot be written to: {error.strerror}') from error
    _check_room(path, needed_bytes)
    if overwrite:
        for name in WRITTEN:
            thing = path / name
            shutil.rmtree(thing) if thing.is_dir() else thing.unlink(missing_ok=True)
    return path


def _check_room(path, needed_bytes):
    """OSError if the disk has too little for checkpoints of that size; those that are there are replaced."""
    there = sum(file.stat().st_size for file in (path / CHECKPOINTS).rglob('*') if file.is_file())
    free = shutil.disk_usage(path).free
    if free + there < needed_bytes:
        raise OSError(
            f'run-dir {path} is on a disk with {_readable(free + there)} left; the checkpoints take up to '
            f'{_readable(needed_bytes)}'
        )


def _readable(size):
    return f'{size / 1e9:.2f} GB' if size >= 1e8 else f'{size / 1e6:.2f} MB'


@contextlib.contextmanager
def _lock(path):
    """Hold the lock file of a folder; the kernel frees it when the process ends, however it ends."""
    import fcntl

    with (path / LOCK).open('a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read() or 'another process'
            raise InUse(f'run-dir {path} is in use by {owner}; name another one, or wait for its end') from None
        file.truncate(0)
        now = datetime.datetime.now().isoformat(' ', 'seconds')
        file.write(f'process {os.getpid()} on {socket.gethostname()}, since {now}')
        file.flush()
        yield


def write_config(path, config):
    """`config.json`: what the run was asked for. Called by all processes, written by the first; see `write_results`."""
    _write(path, CONFIG, config)


def read_config(path):
    """What a run was asked for. Raises FileNotFoundError or ValueError, naming the file, if there is none."""
    return _read(path, CONFIG, 'no run')


def write_results(path, results):
    """`results.json`, complete or not at all; NaN is refused, as JSON knows none (ValueError). Called by all, too."""
    _write(path, RESULTS, results)


def read_results(path):
    """The results of a finished run. Raises FileNotFoundError or ValueError, naming the file, if they are not there."""
    return _read(path, RESULTS, 'no finished run')


def _write(path, name, content):
    text = json.dumps(content, indent=2, allow_nan=False) + '\n'

    def write():
        temporary = Path(path) / f'.{name}'
        with temporary.open('w') as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(Path(path) / name)

    agreement.from_first(write)


def _read(path, name, nothing):
    file = Path(path) / name
    if not file.is_file():
        raise FileNotFoundError(f'{path} holds {nothing}: there is no {name} in it')
    try:
        return json.loads(file.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f'{file} is not valid JSON: {error}') from error


def _occupied(path):
    return path.is_dir() and any(entry.name not in _PASSING for entry in path.iterdir())
