"""`flax-dynconv evaluate`: test the networks of a run, or weights, on a whole data set."""

from pathlib import Path

from flax_dynconv.commands import options, runs, weights
from flax_dynconv.training import loop
from flax_dynconv.training.data.source import shortened
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task


def add_parser(subparsers):
    """Add the command to argparse's subparsers."""
    parser = subparsers.add_parser(
        'evaluate',
        help='test the networks of a run, or weights, on a whole data set',
        description='Test every network of a run on its test images again and compare with what training measured, or '
        'test weights. Exit status: 0; 1 if a figure is not, to the last bit, what training measured at this '
        'checkpoint; 2 if nothing could be tested.',
    )
    parser.add_argument('run_dir', nargs='?', type=Path, metavar='RUN', help='folder that `train` wrote')
    options.add_options(parser)
    parser.add_argument('--data', help='as for `train`: other images of the same classes; needed for weights')
    parser.add_argument('--batch-size', type=options.positive, metavar='N', help='images per step')
    parser.add_argument(
        '--depth-from',
        choices=('own', 'other', 'flat'),
        help='a run of saliency: depth that test images come with; what figures lose without their own is its worth',
    )
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args):
    """Print the figures of each network; exit code 1 if one differs from what training recorded."""
    changes = options.inputs_given(args)
    if args.data is not None:
        changes['data'] = args.data
    if args.batch_size is not None:
        changes['evaluation_batch_size'] = args.batch_size
    if args.depth_from is not None:
        changes['depth_from'] = args.depth_from
    if options.is_run(args, args.run_dir, 'the folder'):
        figures = evaluate_run(args.run_dir, args.checkpoint or 'newest', changes)
    else:
        if args.data is None:
            raise ValueError('--data is needed with --weights: on which images?')
        settings = Settings().updated(**options.network_given(args), **changes)
        figures = {'weights': evaluate_weights(args.weights, settings)}
    print(options.to_json(figures) if args.json else '\n'.join(map(_sentence, figures, figures.values())))
    return int(any(f['recorded'] not in (None, f['reloaded']) for f in figures.values()))


def evaluate_run(folder, which='newest', changes=None):
    """{role: {'model', 'recorded', 'reloaded'}} of the networks in a run's folder, at the checkpoint `which`.

    `changes` are settings of the images that are not those of the run. Both figures are the task's summaries, equal to
    the last bit on the machine and versions that trained; 'recorded' is None where training measured nothing: within
    an epoch, or with `changes`. Raises FileNotFoundError or ValueError for a folder without a usable run, ValueError
    for data of other classes.
    """
    run, changes = runs.open_run(folder), changes or {}
    settings = run.settings.updated(**changes)
    task = create_task(settings)
    if 'data' in changes:
        _check_classes(task, run, changes['data'])
    figures = {}
    for role, name in run.networks.items():
        plan, state, recorded = runs.restore(run, role, task, settings, which)
        reloaded = loop.evaluate(plan, state.evaluated)
        figures[role] = {'model': name, 'recorded': None if changes else recorded, 'reloaded': reloaded}
    return figures


def evaluate_weights(path, settings):
    """{'model', 'recorded': None, 'reloaded': the task's summary} of a file of weights on the data of `settings`.

    Raises what `convert.load_pretrained` raises for the file, and ValueError for data with another number of classes
    and for a network that is no classifier.
    """
    weights.check_classifier(settings.network.model)
    settings = runs.on_these_devices(settings)
    task = create_task(settings)
    model, variables = weights.load(path, settings)
    if model.num_classes != task.num_outputs:
        raise ValueError(
            f'{path} is for {model.num_classes} classes, {settings.images.data} has {task.num_outputs}; '
            'the classes must be the same, in the same order'
        )
    plan = Plan(model, task, settings)
    variables = plan.placement.replicated(weights.fitted(variables, plan.shapes.evaluated, path))
    return {'model': settings.network.model, 'recorded': None, 'reloaded': loop.evaluate(plan, variables)}


def _check_classes(task, run, data):
    classes = tuple(getattr(task, 'classes', ()))
    if classes != run.classes:
        new, missing = (sorted(set(a) - set(b)) for a, b in ((classes, run.classes), (run.classes, classes)))
        raise ValueError(
            f'{data} must have the classes of the run in {run.folder}, in their order; only in the data: '
            f'{shortened(new)}, only in the run: {shortened(missing)}'
        )


def _sentence(role, figure):
    values = ', '.join(f'test {name} {value:.6g}' for name, value in figure['reloaded'].items())
    if figure['recorded'] is None:
        return f'{role} {figure["model"]}: {values}'
    verdict = 'as recorded' if figure['recorded'] == figure['reloaded'] else f'recorded: {figure["recorded"]}'
    return f'{role} {figure["model"]}: {values} ({verdict})'
