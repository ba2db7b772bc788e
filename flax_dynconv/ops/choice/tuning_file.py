"""The file of measured forms: read whole, replaced whole, so that several processes may write it.

Of two that write at the same moment the entry of one may be lost; it is then measured again.
"""

import json
import os
import uuid
from pathlib import Path

VERSION = 1


def read(path: str) -> dict[str, dict[str, float]]:
    """{key: {form: seconds}}; nothing where there is no file. ValueError for a file of another kind."""
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(
            f'implementation: expected a tuning file at {path!r}, got one that is damaged: {error}'
        ) from error
    entries = content.get('seconds') if isinstance(content, dict) and content.get('version') == VERSION else None
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise ValueError(f'implementation: expected a tuning file of version {VERSION} at {path!r}, got another file')
    return entries


def _is_entry(entry):
    return isinstance(entry, dict) and entry and all(isinstance(s, float) and s > 0 for s in entry.values())


def check_writable(path: str) -> None:
    """Refuse a path that cannot be written, before time is spent."""
    folder = Path(path).absolute().parent
    if Path(path).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f'implementation: expected a path that can be written, got {path!r}')


def add(path: str, key: str, entry: dict[str, float]) -> None:
    """Put an entry beside those that are there by now; a reader sees the old file or the new one."""
    entries = read(path) | {key: entry}
    # Not by `tempfile`, whose files are their owner's alone: the other users of the folder shall read the result.
    temporary = Path(path).absolute().parent / f'.tuning-{uuid.uuid4().hex}.json'
    try:
        with temporary.open('x') as file:
            json.dump({'version': VERSION, 'seconds': dict(sorted(entries.items()))}, file, indent=1)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ValueError(f'implementation: expected a path that can be written, got {path!r}: {error}') from error
