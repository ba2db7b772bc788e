"""`flax-dynconv predict`: classes of single images, the class of every pixel, objects, or what is salient."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from flax_dynconv.commands import options, runs, weights
from flax_dynconv.commands.class_names import numbered, read_classes
from flax_dynconv.commands.inference import probabilities
from flax_dynconv.training.extras import require
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task

# Of runs.
TASKS = ('classify', 'segment', 'instances', 'saliency')


class Subject(NamedTuple):
    """Who predicts: a network, its variables, the task that makes its inputs, and names of its classes (or ())."""

    model: Any
    variables: Any
    task: Any
    classes: tuple[str, ...]


def add_parser(subparsers):
    """Add the command to argparse's subparsers."""
    parser = subparsers.add_parser(
        'predict',
        help='classes of images with their probabilities, the class of every pixel, or objects and their masks',
        description='Print the most probable classes of each image; with a run of segmentation, write the class of '
        'every pixel as PNG files and print the share of each class; with one of instances, write the objects as '
        "COCO's results and PNG files; with one of saliency and --depth, write how salient every pixel is as PNG "
        'files. Exit status: 0, or 2 for an image, a run or weights that cannot be read.',
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files, or folders with image files')
    parser.add_argument('--run', dest='run_dir', type=Path, metavar='RUN', help='folder that `train` wrote')
    parser.add_argument('--network', choices=('dynamic', 'static'), help='which of the run (default: the dynamic one)')
    options.add_options(parser)
    parser.add_argument(
        '--output', type=Path, metavar='DIR', help='segmentation, instances, saliency: folder for what is written'
    )
    parser.add_argument(
        '--depth', type=Path, metavar='PATH', help='saliency: depth of the image, or a folder with that of each'
    )
    parser.add_argument(
        '--top', type=options.positive, default=5, metavar='N', help='classes that are shown (default: 5)'
    )
    parser.add_argument(
        '--classes', metavar='FILE', help='names of the classes, one per line in the order of the labels'
    )
    parser.add_argument(
        '--batch-size', type=options.positive, default=32, metavar='N', help='images at a time (default: 32)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args):
    """Print the most probable classes of each image."""
    require('PIL', 'reads images')
    from flax_dynconv.commands.image_files import find_images, read_images
    from flax_dynconv.commands.stand_in import transform_of

    paths = find_images(args.images)
    if options.is_run(args, args.run_dir, '--run'):
        subject = of_run(args.run_dir, args.network, args.checkpoint or 'newest', options.inputs_given(args))
    else:
        if args.network is not None:
            raise ValueError('--network is for --run, got it with --weights')
        settings = Settings().updated(**options.network_given(args), **options.inputs_given(args), data='images')
        subject = of_weights(args.weights, settings)
    count = subject.task.num_outputs
    names = read_classes(args.classes, count) if args.classes else subject.classes or numbered(count)
    task = _task_of(subject, args.output, args.depth)
    if task == 'segment':
        from flax_dynconv.commands import predict_masks

        written = list(predict_masks.write_masks(subject, paths, args.output, names, args.top))
        print(options.to_json(written) if args.json else '\n'.join(map(predict_masks.lines, written)))
        return 0
    if task == 'instances':
        from flax_dynconv.commands import predict_instances

        ids = tuple(subject.task.category_ids)
        written = predict_instances.write_instances(subject, paths, args.output, names, ids, args.top)
        print(options.to_json(written) if args.json else '\n'.join(map(predict_instances.lines, written)))
        return 0
    if task == 'saliency':
        from flax_dynconv.commands import predict_saliency

        written = list(predict_saliency.write_maps(subject, paths, args.depth, args.output))
        print(options.to_json(written) if args.json else '\n'.join(map(predict_saliency.line, written)))
        return 0
    images = read_images(paths, transform_of(subject.task))
    shares = probabilities(subject.model, subject.variables, subject.task.inputs, images, args.batch_size)
    predictions = [
        {'image': str(path), 'predictions': top(p, names, args.top)} for path, p in zip(paths, shares, strict=True)
    ]
    print(options.to_json(predictions) if args.json else '\n'.join(map(_lines, predictions)))
    return 0


def of_run(folder, role=None, which='newest', changes=None):
    """The `Subject` of a network of a run: 'dynamic', 'static', or None for the first that there is.

    Raises FileNotFoundError or ValueError for a folder without a usable run, for a run of a task that is not among
    `TASKS`, and for a network that it has not.
    """
    from flax_dynconv.commands.stand_in import task_without_data

    run = runs.open_run(folder)
    if run.settings.task not in TASKS:
        raise ValueError(f'predict is for runs of {", ".join(TASKS)}, the run in {folder} is of {run.settings.task}')
    role = next(iter(run.networks)) if role is None else role
    if role not in run.networks:
        raise ValueError(f'network must be one of {list(run.networks)}, those of the run in {folder}, got {role!r}')
    settings = run.settings.updated(**(changes or {}))
    small = runs.on_these_devices(settings)
    without_data = run.classes or settings.task == 'saliency'
    task = task_without_data(small, run.classes, run.category_ids) if without_data else create_task(settings)
    plan, state, _ = runs.restore(run, role, task, settings, which)
    return Subject(plan.model, state.evaluated, task, run.classes or tuple(getattr(task, 'classes', ())))


def of_weights(path, settings):
    """The `Subject` of a file of weights; raises what `convert.load_pretrained` raises."""
    from flax_dynconv.commands.stand_in import task_without_data

    model, variables = weights.load(path, settings)
    task = task_without_data(settings, numbered(model.num_classes))
    expected = jax.eval_shape(lambda: task.init(model, jax.random.key(0)))
    return Subject(model, weights.fitted(variables, expected, path), task, ())


def top(shares, names, count):
    """The `count` most probable classes, the first of equals first.

    >>> top(np.array([0.25, 0.5, 0.25]), ('cat', 'dog', 'fox'), 2)
    [{'class': 'dog', 'label': 1, 'probability': 0.5}, {'class': 'cat', 'label': 0, 'probability': 0.25}]
    """
    order = np.argsort(-np.asarray(shares, np.float64), kind='stable')[:count]
    return [{'class': names[i], 'label': int(i), 'probability': float(shares[i])} for i in order]


def _lines(prediction):
    lines = [f'{100 * p["probability"]:8.2f} %  {p["class"]}' for p in prediction['predictions']]
    return '\n'.join([prediction['image'], *lines])


def _task_of(subject, output, depth):
    """The task of the network; ValueError where that and --output or --depth do not go together."""
    task = subject.task.settings.task if hasattr(subject.task, 'settings') else 'classify'
    if task != 'classify' and output is None:
        raise ValueError(f'--output DIR is needed with a run of {task}: where shall the PNG files go?')
    if task == 'classify' and output is not None:
        raise ValueError('--output is for a run of segmentation, got it with a network of whole images')
    if (task == 'saliency') != (depth is not None):
        raise ValueError(f'--depth PATH is needed with a run of saliency and with no other, got {depth} with {task}')
    return task
