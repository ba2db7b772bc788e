"""`flax-dynconv train`: the command line of a training run."""

import logging
import sys

from rich.console import Console

from flax_dynconv.training import distributed, experiment, report, run_folder
from flax_dynconv.training.interruption import Interrupted, Interruption
from flax_dynconv.training.monitoring.watch import watch
from flax_dynconv.training.train_arguments import parse


def add_parser(subparsers):
    """Add the command to argparse's subparsers; what follows it is left to `train_arguments`, --help too."""
    # With a prefix that no argument has, all of them are words to argparse.
    parser = subparsers.add_parser(
        'train', help='train a network, and its static twin, on images', prefix_chars='\0', add_help=False
    )
    parser.add_argument('arguments', nargs='*')


def run(args):
    """Train as the arguments say; exit code 0, that of a signal, or an exception that the command line reports."""
    arguments = parse(args.arguments)
    settings = arguments.settings
    logging.getLogger('absl').addFilter(_not_of_orbax)
    distributed.initialize(settings.parallel)
    task = experiment.prepare(settings)
    networks = experiment.networks(settings)
    place = run_folder.opened(
        arguments.run_dir or None,
        arguments.overwrite,
        arguments.resume,
        experiment.needed_bytes(settings, task),
        name=_name(arguments),
    )
    try:
        with (
            place as folder,
            Interruption() as interruption,
            watch(settings, folder, task.score, len(networks)) as observer,
        ):
            observer.said(f'training {" and ".join(networks.values())} on {task.name} into {folder}')
            run_folder.write_config(folder, _config(arguments, folder, task))
            results = experiment.run(settings, folder, observer, interruption, task)
    except Interrupted as end:
        if distributed.is_first():
            print(f'flax-dynconv train: {end}', file=sys.stderr)
        return end.exit_code
    if distributed.is_first():
        Console().print(report.table(results))
        print(f'results, checkpoints and picture: {folder}')
    return 0


def _config(arguments, folder, task):
    """What `config.json` holds: settings, the recipe that they began with, and the versions of the latest start."""
    recipe = run_folder.read_config(folder).get('recipe') if arguments.resume else arguments.recipe or None
    return {
        'recipe': recipe,
        'settings': arguments.settings.flat(),
        **report.class_names(task),
        'versions': report.versions(),
    }


def _name(arguments):
    """Of a folder that the user has not named."""
    settings = arguments.settings
    # The recipe of `--task classify` says little of other data.
    if settings.task == 'classify' and arguments.recipe in ('', 'digits'):
        return 'digits' if settings.images.data == 'digits' else settings.network.model
    return arguments.recipe or settings.task


def _not_of_orbax(record):
    """Orbax logs the tracebacks of errors that it raises too; they are reported in a line."""
    return '/orbax/' not in record.pathname
