"""The folder of a run: where it lies, what is in it, and when it may be written to."""

import itertools
import json
import shutil
from pathlib import Path

RESULTS, PICTURE, CHECKPOINTS = 'results.json', 'picture.png', 'checkpoints'
DEFAULT = Path('runs/digits')


def open_for_writing(path=None, overwrite=False):
    """A folder that holds no run yet, created if need be; where none is named, the first free `runs/digits[-N]`.

    Raises FileExistsError for a named folder that is not empty, unless `overwrite`: then an earlier run's files are
    removed from it, and nothing else. Raises OSError at once if nothing can be written there.
    """
    path = _first_free(DEFAULT) if path is None else Path(path)
    if path.exists() and not path.is_dir():
        raise FileExistsError(f'run-dir must be a folder, {path} is a file')
    if _occupied(path):
        if not overwrite:
            raise FileExistsError(f'run-dir {path} is not empty; name another one, or pass --overwrite')
        for name in (RESULTS, PICTURE):
            (path / name).unlink(missing_ok=True)
        shutil.rmtree(path / CHECKPOINTS, ignore_errors=True)
    path.mkdir(parents=True, exist_ok=True)
    trial = path / '.writable'
    trial.touch()
    trial.unlink()
    return path


def write_results(path, results):
    """`results.json`, complete or not at all; NaN is refused, as JSON knows none."""
    temporary = path / f'.{RESULTS}'
    temporary.write_text(json.dumps(results, indent=2, allow_nan=False) + '\n')
    temporary.replace(path / RESULTS)


def read_results(path):
    """The results of a finished run. Raises FileNotFoundError or ValueError, naming the file, if they are not there."""
    file = Path(path) / RESULTS
    if not file.is_file():
        raise FileNotFoundError(f'{path} holds no finished run: there is no {RESULTS} in it')
    try:
        return json.loads(file.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f'{file} is not valid JSON: {error}') from error


def _occupied(path):
    return path.is_dir() and any(path.iterdir())


def _first_free(path):
    names = itertools.chain([path], (path.with_name(f'{path.name}-{i}') for i in itertools.count(2)))
    return next(name for name in names if not _occupied(name) and not name.is_file())
