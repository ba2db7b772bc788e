"""`flax-dynconv train`: the command line of a training run."""

import contextlib
import dataclasses

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from flax_dynconv.training import experiment, report, run_folder
from flax_dynconv.training.settings import Settings

_HELP = {
    'task': 'what to learn: digits, 1,797 scans that come with scikit-learn',
    'model': 'network, by name; its static twin is trained too',
    'width': 'multiplies the channels of both networks',
    'epochs': 'passes over the training images',
    'batch_size': 'images per step',
    'learning_rate': 'peak of the cosine schedule',
    'warmup_epochs': 'epochs of linear warm-up',
    'momentum': 'of SGD',
    'weight_decay': 'on all parameters',
    'temperature': 'where the attention temperature starts; it ends at 1',
    'temperature_epochs': 'epochs of annealing (default: a third of the run)',
    'seed': 'of weights, shuffling and augmentation; the held-out images never change',
}


def add_parser(subparsers):
    """Add the command to argparse's subparsers."""
    parser = subparsers.add_parser('train', help='train a dynamic network and its static twin on real images')
    for field in dataclasses.fields(Settings):
        kind = float if 'float' in str(field.type) else field.type
        text = _HELP[field.name] + ('' if field.default is None else ' (default: %(default)s)')
        parser.add_argument(f'--{field.name.replace("_", "-")}', type=kind, default=field.default, help=text)
    parser.add_argument('--run-dir', help=f'folder for the results (default: {run_folder.DEFAULT}, or the next free)')
    parser.add_argument('--overwrite', action='store_true', help='replace an earlier run in --run-dir')


def run(args):
    """Train as the arguments say; exit code 0, or an exception that the command line reports."""
    settings = Settings(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Settings)})
    score = experiment.prepare(settings).score
    folder = run_folder.open_for_writing(args.run_dir, args.overwrite)
    console = Console(stderr=True)
    names = ' and '.join(experiment.networks(settings.model).values())
    console.print(f'training {names} on {settings.task} into {folder}', highlight=False)
    results = experiment.run(settings, folder, lambda role, steps: _progress(console, settings, role, steps, score))
    Console().print(report.table(results))
    print(f'results, checkpoints and picture: {folder}')
    return 0


@contextlib.contextmanager
def _progress(console, settings, role, steps, score):
    """A bar over the steps on a terminal; elsewhere a line per epoch."""
    columns = (
        TextColumn('{task.description}'),
        BarColumn(bar_width=None),
        TextColumn('epoch {task.fields[epoch]}, loss {task.fields[loss]}, test {task.fields[test]}'),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, expand=True) as bar:
        line = bar.add_task(f'{role:7}', total=steps, epoch=f'0/{settings.epochs}', loss='-', test='-')

        def on_step(step, loss):
            bar.update(line, completed=step + 1, loss=f'{loss:.3f}')

        def on_epoch(record):
            epoch, test = f'{record["epoch"]}/{settings.epochs}', f'{100 * record["test"][score]:.2f} %'
            bar.update(line, epoch=epoch, test=test)
            if not console.is_terminal:
                loss = f'{record["train"]["loss"]:.3f}'
                console.print(f'{role} epoch {epoch}: loss {loss}, test {score} {test}', highlight=False)

        yield on_step, on_epoch
