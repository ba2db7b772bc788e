"""What PIL raises on damaged images, as one error that names the file."""

import contextlib

from PIL import UnidentifiedImageError

from flax_dynconv.training.data.source import UnreadableImage


@contextlib.contextmanager
def damage_named(name, size):
    """Within it, what PIL raises of the image `name`, of `size` bytes, becomes `UnreadableImage`.

    A MemoryError passes: the machine is short of memory, and that says nothing of the image.

    >>> with damage_named('cat.png', 20):
    ...     raise OSError('Truncated File Read')
    Traceback (most recent call last):
    flax_dynconv.training.data.source.UnreadableImage: cat.png cannot be read: OSError: Truncated File Read
    """
    try:
        yield
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        # PIL's own words hold an address in memory, which would be another in every run.
        raise UnreadableImage(name, f'PIL knows no image format that starts like its {size} bytes') from error
    except Exception as error:  # PIL's plugins raise almost anything on damaged files.
        raise UnreadableImage(name, f'{type(error).__name__}: {error}') from error
