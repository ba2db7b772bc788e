"""Parts of one open file, from any thread and any process."""

import os
import weakref


class FileParts:
    """The file at `path`, read at given places; there is no position that threads would share.

    Pickled, it is its path.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self._descriptor = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __reduce__(self):
        return FileParts, (self.path,)

    def read(self, start, size):
        """`size` bytes from `start`; EOFError if the file ends before."""
        parts, missing = [], size
        while missing:
            part = os.pread(self._descriptor, missing, start + size - missing)
            if not part:
                raise EOFError(f'{self.path} ends {missing} bytes too early')
            parts.append(part)
            missing -= len(part)
        return b''.join(parts)
