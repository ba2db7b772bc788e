"""A .tar of an image folder, read in place: any member at any time, from any thread, nothing extracted."""

import tarfile
from pathlib import Path

from flax_dynconv.training.data.archive import Archive, Entries
from flax_dynconv.training.data.source import UnreadableImage

_COMPRESSED = {b'\x1f\x8b': 'gzip', b'BZh': 'bzip2', b'\xfd7zXZ': 'xz', b'\x28\xb5\x2f\xfd': 'zstd'}


class TarArchive(Archive):
    """A `Source` of the images in the uncompressed tar file at `path`.

    The headers are read once; an image is then one read of the file, wherever it lies. Raises ValueError for a
    compressed one, which has no random access, for what is no tar file, and for one that is cut off or damaged
    between its members; refuses the whole archive for a member that leads out of it, is there twice, or is no plain
    file or folder (a link, a device, a sparse file).
    """

    def __init__(self, path):
        where = f'the archive {path}'
        with Path(path).open('rb') as file:
            start = file.read(6)
        for magic, name in _COMPRESSED.items():
            if start.startswith(magic):
                raise ValueError(
                    f'{where} is compressed ({name}), so that its images cannot be read in any order; expected an '
                    'uncompressed .tar or a .zip (image files hardly shrink)'
                )
        entries = Entries({}, set())
        try:
            with tarfile.open(path, 'r:') as archive:
                for member in archive:
                    if not (member.isdir() or member.isreg()) or member.issparse():
                        kind = f'a link to {member.linkname!r}' if member.islnk() or member.issym() else 'special'
                        raise ValueError(
                            f'{where} is refused: its entry {member.name!r} is no plain file or folder but {kind}'
                        )
                    entries.add(member.name, None if member.isdir() else (member.offset_data, member.size), where)
                end = archive.offset
        except tarfile.TarError as error:
            raise ValueError(f'{where} is no tar archive, or is damaged: {error}') from error
        # tarfile takes a header that it cannot read for the end; the images after it must not be lost in silence.
        with Path(path).open('rb') as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ValueError(f'{where} is cut off or damaged after {end} bytes: there is no end of archive')
        super().__init__(path, entries, where)

    def entry(self, name, offset, size):
        """The bytes of one member; `UnreadableImage` if the file ends before."""
        try:
            return self.file.read(offset, size)
        except EOFError as error:
            raise UnreadableImage(name, f'the archive is cut off ({error})') from error
