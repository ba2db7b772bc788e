"""Files from the Hugging Face hub: the local cache first, then the network. The only place that imports its client."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flax_dynconv.convert.errors import CaseError

PREFIX = 'hf:'
FIRST, LAST = 'model.safetensors', 'pytorch_model.bin'


def fetch(source: str, revision: str | None = None) -> Path:
    """The local file of 'hf:owner/repo/file' or of 'hf:owner/repo', of which it takes the weights.

    Those are `model.safetensors`, else the only .safetensors, else `pytorch_model.bin`. A file in the cache of
    huggingface_hub (HF_HUB_CACHE) is used without asking the network for a newer one; a `revision` (branch, tag or
    commit) names another.
    Raises CaseError for a source that is no such name, a repository without such files, and where neither the cache nor
    the network has them; ImportError where huggingface_hub is missing.
    """
    owner, _, rest = source.removeprefix(PREFIX).partition('/')
    name, _, file = rest.partition('/')
    if not owner or not name or '..' in file.split('/'):
        raise CaseError(f'{source}: expected hf:owner/repo or hf:owner/repo/file')
    hub = _client(source)
    # As the environment says now, and not when the client was imported.
    place = {'repo_id': f'{owner}/{name}', 'revision': revision}
    if cache := os.environ.get('HF_HUB_CACHE'):
        place['cache_dir'] = cache
    try:
        return _cached(hub, place, file) or _download(hub, place, file, source)
    except CaseError:
        raise
    except _failures(hub) as error:
        raise CaseError(f'{source}: neither in the cache nor on the hub: {_first_line(error)}') from error


def choose(files: Iterable[str], source: str) -> str:
    """The file with the weights among the files of a repository.

    >>> choose(['config.json', 'resnet.safetensors', 'pytorch_model.bin'], 'hf:owner/repo')
    'resnet.safetensors'
    """
    files = list(files)
    safe = [file for file in files if file.endswith('.safetensors')]
    chosen = [FIRST] if FIRST in safe else safe or [file for file in files if file == LAST]
    if len(chosen) != 1:
        found = f'several, {", ".join(sorted(chosen))}' if chosen else f'none among {sorted(files)}'
        raise CaseError(f'{source}: expected one file of weights, found {found}; name it: {source}/FILE')
    return chosen[0]


def _cached(hub, place, file):
    if file:
        return _in_cache(hub, place, file)
    if found := _in_cache(hub, place, FIRST):
        return found
    try:
        folder = Path(hub.snapshot_download(**place, local_files_only=True))
    except _failures(hub):  # Nothing of it is there, or not all of it.
        return _in_cache(hub, place, LAST)
    files = [path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()]
    weights = [name for name in files if name.endswith('.safetensors') or name == LAST]
    return folder / choose(weights, f'{PREFIX}{place["repo_id"]}') if weights else None


def _in_cache(hub, place, file):
    arguments: dict[str, Any] = {**place, 'filename': file}
    found = hub.try_to_load_from_cache(**arguments)
    return Path(found) if isinstance(found, str) else None


def _download(hub, place, file, source):
    if os.environ.get('HF_HUB_OFFLINE', '').upper() in ('1', 'ON', 'YES', 'TRUE'):
        raise CaseError(f'{source}: not in the cache of huggingface_hub, and HF_HUB_OFFLINE forbids to ask for it')
    if not file:
        file = choose(hub.HfApi().list_repo_files(place['repo_id'], revision=place['revision']), source)
    return Path(hub.hf_hub_download(**place, filename=file))


def _client(source):
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            f"{source}: huggingface_hub is not installed; it comes with the 'hub' extra: "
            "pip install 'flax-dynconv[hub]' (in a checkout: pip install '.[hub]')"
        ) from error
    return huggingface_hub


def _failures(hub):
    """What the client raises: its own errors, and those of the library with which its version speaks to the hub."""
    network = (kind for kind in hub.errors.HfHubHTTPError.__mro__ if issubclass(kind, Exception))
    return (*(kind for kind in network if kind is not Exception), hub.errors.EntryNotFoundError, ValueError)


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]
