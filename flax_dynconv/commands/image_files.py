"""Image files named on a command line, read one after the other."""

from pathlib import Path

from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.listing import ENDINGS, is_image


def find_images(arguments):
    """The files that `arguments` name: each file, and of each folder what is directly in it and named as an image.

    Raises FileNotFoundError for a path that does not exist, ValueError for a folder without an image.

    >>> find_images([])
    []
    """
    paths = []
    for argument in map(Path, arguments):
        if argument.is_dir():
            inside = sorted(
                path
                for path in argument.iterdir()
                if path.is_file() and is_image(path.name) and not path.name.startswith('.')
            )
            if not inside:
                raise ValueError(
                    f'{argument}: there is no image in this folder, no file that ends in {" ".join(ENDINGS)}'
                )
            paths += inside
        elif argument.exists():
            paths.append(argument)
        else:
            raise FileNotFoundError(f'there is no image {argument}')
    return paths


def read_images(paths, transform):
    """The arrays `transform(image)` of image files, each read when it is asked for.

    Raises `UnreadableImage`, which names the file, for one that is damaged, cut off or no image.
    """
    for path in paths:
        yield transform(decode(path.read_bytes(), str(path)))
