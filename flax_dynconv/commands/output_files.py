"""Names of the files that a prediction writes for images, before anything is written."""


def output_files(paths, output, endings, given=()):
    """Of each image the files NAME + ending in the folder `output`, one for each of `endings`: a list of tuples.

    Raises ValueError for two images with a file of the same name, and for one that is among the images or the files
    `given` besides: nothing that was given is overwritten.

    >>> from pathlib import Path
    >>> output_files([Path('a.jpg')], Path('out'), ('.png',)) == [(Path('out/a.png'),)]
    True
    """
    written, known = {}, {path.resolve() for path in (*paths, *given)}
    targets = [tuple(output / f'{path.stem}{ending}' for ending in endings) for path in paths]
    for path, names in zip(paths, targets, strict=True):
        for target in names:
            if target in written:
                raise ValueError(f'images must have different names for --output, got {written[target]} and {path}')
            if target.resolve() in known:
                raise ValueError(f'--output {output}: {target} is an image itself and would be overwritten')
            written[target] = path
    return targets
