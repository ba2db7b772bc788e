"""What a run says at its end: the versions it ran with and a table of the networks side by side."""

import importlib.metadata
import platform

from rich import box
from rich.table import Table

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'scikit-learn')


def versions():
    """Python's and the packages' versions; None for one that is not installed.

    >>> versions()['python'].startswith('3.')
    True
    """
    import flax_dynconv  # not above: the package imports its parts

    found = {'python': platform.python_version(), 'flax-dynconv': flax_dynconv.__version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def class_names(task):
    """What a run's files say of its classes: their names, and their ids in the files of the data, if they have such."""
    names = {'classes': list(getattr(task, 'classes', ()))}
    return names | ({'category_ids': list(task.category_ids)} if hasattr(task, 'category_ids') else {})


def table(results):
    """A `rich` table with one row for each trained network of `results`, and the number of bad images, if any."""
    names = ', '.join(f'{role}: {results[role]["model"]}' for role in roles(results))
    title = f'{results["task"]}, {results["settings"]["epochs"]} epochs, seed {results["seed"]}\n{names}'
    score = results['score']
    bad = results['bad_images']
    caption = f'training images that could not be read (names in results.json): {len(bad)}' if bad else None
    view = Table(box=box.SIMPLE, title=title, caption=caption)
    view.add_column('\nnetwork', no_wrap=True)
    for column in (f'test\n{score}', '\nparameters', 'multiply-adds\nper example', 'seconds\nper epoch'):
        view.add_column(column, justify='right', no_wrap=True)
    for role in roles(results):
        run = results[role]
        view.add_row(
            role,
            f'{100 * run[f"test_{score}"]:.2f} %',
            f'{run["parameters"]:,}',
            f'{run["multiply_adds"]:,}',
            f'{run["seconds_per_epoch"]:.2f}',
        )
    return view


def roles(results):
    """The networks of a run, in order: 'dynamic' (if there is one) and 'static'."""
    return [role for role in ('dynamic', 'static') if role in results]
