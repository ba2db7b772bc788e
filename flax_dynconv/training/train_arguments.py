"""The flags of `flax-dynconv train`: the fields of the settings by their own names, on top of a recipe or a run."""

import argparse
import dataclasses

from flax_dynconv.training import run_folder, tasks
from flax_dynconv.training.extras import require
from flax_dynconv.training.flags import parsed_by_tyro
from flax_dynconv.training.recipes import find_recipe
from flax_dynconv.training.settings import Parallel, Saving, Settings

_DESCRIPTION = (
    'Train a network, and with it its static twin if it is dynamic, on images; by default on digits, in minutes. '
    '--task NAME trains for another task, on data of its own; `flax-dynconv recipes` lists trainings for --recipe.'
)
# Where a run is, not what it is: a resumed run may be told otherwise, and is not told by the run before.
_LAUNCH = ('distributed', 'coordinator', 'num_processes', 'process_id')
# What may change in a resumed run: nothing that is computed depends on it, but for updates that are no numbers.
CHANGEABLE = (
    {field.name for record in (Parallel, Saving) for field in dataclasses.fields(record)}
    | {'reader_threads', 'reader_processes'}
) - {'batch_statistics'}


@dataclasses.dataclass(frozen=True)
class TrainArguments(Settings):
    """Settings, and what the command does with them.

    >>> TrainArguments(epochs=2, overwrite=True).settings == Settings(epochs=2)
    True
    """

    recipe: str = ''
    """name of a recipe, whose settings are the defaults of all other flags"""
    full: bool = False
    """with --task and no recipe: the published network and lengths as defaults instead of the quick ones"""
    run_dir: str = ''
    """folder for the results; '': the first free one in runs/"""
    overwrite: bool = False
    """replace an earlier run in --run-dir"""
    resume: bool = False
    """go on with the run in --run-dir, with its settings; other flags than where and how it runs are refused"""

    @property
    def settings(self):
        """The settings alone."""
        return Settings(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)})


def parse(arguments):
    """`TrainArguments` of a list of flags, later ones on top of the recipe that they name or the run that they resume.

    `--help` prints the flags with these defaults and exits. Raises ValueError for what cannot be parsed or is out of
    range, for an unknown recipe, for flags that do nothing with the data, and for flags that would make a resumed run
    another one; ImportError without tyro.

    >>> arguments = parse(['--recipe', 'odconv-resnet-100ep', '--no-decay', 'norm', 'bias'])
    >>> arguments.settings.epochs, arguments.settings.optimization.no_decay
    (100, ('norm', 'bias'))
    """
    require('tyro', 'reads the command line')
    first, recipe = _first_look(arguments), None
    if first.resume:
        if first.recipe:
            raise ValueError('--resume takes the settings of the run, --recipe must not be given with it')
        if not first.run_dir:
            raise ValueError('--resume needs --run-dir: which run?')
        default, description = stored_settings(first.run_dir), _DESCRIPTION
    elif first.recipe:
        recipe = find_recipe(first.recipe)
        default, description = recipe.settings, recipe.text()
        if first.task not in (None, default.task):
            raise ValueError(f'--recipe {first.recipe} is of the task {default.task}, got --task {first.task} with it')
    elif first.task:
        chosen = tasks.kind(first.task)
        recipe = find_recipe(chosen.FULL if first.full else chosen.RECIPE)
        default, description = recipe.settings, recipe.text()
    else:
        default, description = Settings(), _DESCRIPTION
    if first.full and (first.recipe or first.resume or not first.task):
        raise ValueError('--full is for --task alone: a recipe, or a run that is resumed, says its lengths itself')
    fields = {field.name: getattr(default, field.name) for field in dataclasses.fields(Settings)}
    flags = (*Settings().flat(), 'recipe', 'run_dir', 'full')
    parsed = parsed_by_tyro(arguments, TrainArguments(**fields), description, flags)
    if first.resume:
        _check_unchanged(default.flat(), parsed.settings.flat())
    else:
        _check_used(default.flat(), parsed.settings)
    # `--task` stands for a recipe: the run knows which.
    return parsed if first.resume or recipe is None else dataclasses.replace(parsed, recipe=recipe.name)


def stored_settings(folder):
    """The settings of the run in a folder, but for its addresses of hosts; FileNotFoundError or ValueError if none."""
    config = run_folder.read_config(folder)
    try:
        settings = Settings.from_json(config['settings'])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{folder}/{run_folder.CONFIG} holds no settings of this version: {error!r}') from error
    return settings.updated(**{name: getattr(Parallel(), name) for name in _LAUNCH})


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ValueError(message)


def _first_look(arguments):
    """What decides about defaults, before all flags are parsed."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument('--recipe', default='')
    parser.add_argument('--run-dir', '--run_dir', default='')
    parser.add_argument('--resume', action='store_true')
    parser.add_argument('--task')
    parser.add_argument('--full', action='store_true')
    return parser.parse_known_args(arguments)[0]


def _check_unchanged(stored, given):
    changed = sorted(name for name in stored if given[name] != stored[name] and name not in CHANGEABLE)
    if changed:
        flags = ', '.join(f'--{name.replace("_", "-")} {given[name]} (was {stored[name]})' for name in changed)
        raise ValueError(f'--resume goes on with the settings of the run, which this would change: {flags}')


def _check_used(default, settings):
    """What a recipe has may be for other data than those that are named; a flag is meant."""
    given = settings.flat()
    changed = [name for name in tasks.kind(settings.task).unused_by_data(settings) if given[name] != default[name]]
    if changed:
        flags = ', '.join(f'--{name.replace("_", "-")} {given[name]}' for name in changed)
        raise ValueError(f'flags must be those that --data {settings.images.data} has a use for, got {flags}')
