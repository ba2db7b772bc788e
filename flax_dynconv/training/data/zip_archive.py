"""A .zip of an image folder, read in place: any entry at any time, from any thread, nothing extracted."""

import stat
import struct
import zipfile
import zlib

from flax_dynconv.training.data.archive import Archive, Entries
from flax_dynconv.training.data.source import UnreadableImage

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_MARGIN = 64  # less than a table of contents with one entry


class ZipArchive(Archive):
    """A `Source` of the images in the zip file at `path`.

    The table of contents is read once; an image is then two reads of the file, wherever it lies. Raises ValueError
    for a file that is no zip archive, and refuses the whole archive for an entry that leads out of it, is a link, is
    there twice, is encrypted, or is compressed by another method than deflate.
    """

    def __init__(self, path):
        where = f'the archive {path}'
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
        except zipfile.BadZipFile as error:
            raise ValueError(f'{where} is no zip archive, or is damaged: {error}') from error
        entries = Entries({}, set())
        for info in infos:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f'{where} is refused: its entry {info.filename!r} is a link')
            if not info.is_dir() and (info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS):
                raise ValueError(
                    f'{where} is refused: its entry {info.filename!r} must be stored or deflated, not encrypted; '
                    f'got method {info.compress_type}, flags {info.flag_bits:#x}'
                )
            numbers = (info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type)
            # `orig_filename`, as `filename` has been cut at a zero byte.
            entries.add(info.orig_filename, None if info.is_dir() else numbers, where)
        super().__init__(path, entries, where)

    def entry(self, name, offset, compressed, size, checksum, method):
        """The bytes of one entry; `UnreadableImage` if they are not what the table of contents says."""
        try:
            # One read for header and data: the header repeats the name, its extra field is short and has another
            # length than the table's. The table itself comes after all entries, so there are bytes enough.
            part = self.file.read(offset, 30 + len(name) + _MARGIN + compressed)
            if part[:4] != b'PK\3\4':
                raise UnreadableImage(name, 'the archive has no entry where its table of contents says')
            start = 30 + sum(struct.unpack('<HH', part[26:30]))
            data = part[start : start + compressed]
            if len(data) != compressed:
                data = self.file.read(offset + start, compressed)
            if method == zipfile.ZIP_DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except (EOFError, zlib.error) as error:
            raise UnreadableImage(name, f'the entry of the archive is damaged ({error})') from error
        if len(data) != size or zlib.crc32(data) != checksum:
            raise UnreadableImage(name, 'the entry of the archive is damaged (its checksum is another)')
        return data
