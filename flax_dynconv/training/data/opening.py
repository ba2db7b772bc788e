"""The source of images that a setting names."""

from pathlib import Path

from flax_dynconv.training.data.array_records import ArrayRecords
from flax_dynconv.training.data.folder import Folder
from flax_dynconv.training.data.hugging_face import HuggingFace
from flax_dynconv.training.data.tar_archive import TarArchive
from flax_dynconv.training.data.tensorflow_datasets import TensorFlowDatasets
from flax_dynconv.training.data.zip_archive import ZipArchive

PREFIXES = {'arrayrecord': ArrayRecords, 'hf': HuggingFace, 'tfds': TensorFlowDatasets}
ARCHIVES = {'.zip': ZipArchive, '.tar': TarArchive, '.gz': TarArchive, '.tgz': TarArchive}
EXPECTED = 'digits, a folder, a .zip, a .tar, arrayrecord:FOLDER, hf:FOLDER or hf:NAME, tfds:FOLDER or tfds:NAME'


def open_source(data):
    """The `Source` of `data`, as in `settings.images.data`: a folder, .zip or .tar, or a prefix and what it is for.

    Raises FileNotFoundError if there is no such file or folder, ValueError for a file of another kind, and what the
    source raises.

    >>> open_source('no/such/images')
    Traceback (most recent call last):
    FileNotFoundError: data: there is no file or folder no/such/images; expected digits, a folder, a .zip, ...
    """
    prefix, colon, rest = data.partition(':')
    if colon and prefix in PREFIXES:
        return PREFIXES[prefix](rest)
    path = Path(data).expanduser()
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise FileNotFoundError(f'data: there is no file or folder {data}; expected {EXPECTED}')
    if path.suffix.lower() not in ARCHIVES:
        raise ValueError(f'data must be {EXPECTED}; got the file {data}')
    return ARCHIVES[path.suffix.lower()](path)
