"""The command `flax-dynconv summary`: the layers of a network, with parameters and multiply-adds."""

import argparse
import json
import shutil
import sys

import jax
import jax.numpy as jnp

from flax_dynconv.models.counting import count
from flax_dynconv.models.preprocessing import preprocessing
from flax_dynconv.models.registry import create_model


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `summary NAME [--image-size N] [--num-classes N] [--arguments JSON] [--json]` to a command's subparsers."""
    parser = subparsers.add_parser(
        'summary',
        help='layers, parameters and multiply-adds of a network',
        description='Print the layers of a network with their outputs, parameters and multiply-adds for one image of '
        'three channels. Nothing is computed but shapes. Exit status: 0, or 2 for an unknown name.',
    )
    parser.add_argument('name', metavar='NAME', help='a name that `flax-dynconv models` lists')
    parser.add_argument('--image-size', type=_positive, metavar='N', help="pixels of a side (default: the model's own)")
    parser.add_argument(
        '--num-classes', type=int, default=1000, metavar='N', help='logits; 0: no classifier (default %(default)s)'
    )
    parser.add_argument(
        '--arguments',
        type=_table,
        default={},
        metavar='JSON',
        help='further fields of the network as a JSON object, such as \'{"width": 0.5, "stride_in_1x1": true}\'',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Count and print."""
    model = _create(args)
    size = preprocessing(args.name).image_size if args.image_size is None else args.image_size
    report = count(model, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
    if args.json:
        head = {'name': args.name, 'image_size': size, 'num_classes': args.num_classes, 'arguments': args.arguments}
        totals = {'parameters': report.parameters, 'multiply_adds': report.multiply_adds}
        layers = [layer._asdict() | {'output': _per_image(layer)} for layer in report.layers]
        print(json.dumps({**head, **totals, 'layers': layers}, indent=2))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(f'{args.name}, images {size}x{size}, {args.num_classes} classes\n')
        print(table(report, width))
    return 0


def _create(args):
    try:
        return create_model(args.name, args.num_classes, **args.arguments)
    except TypeError as error:
        raise ValueError(f'--arguments: {error}') from error


def _table(text):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f'expected a JSON object, got {text[:80]!r}: {error}') from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'expected a JSON object, got {text[:80]!r}')
    return value


def table(report, width=None):
    """The layers of a `count` report as lines of aligned columns, the totals last.

    Columns are as wide as what is in them; where that exceeds `width`, paths lose their beginning.

    >>> from flax import linen as nn
    >>> print(table(count(nn.Dense(3), jnp.zeros((1, 4)))))
    layer  kind   output  parameters  multiply-adds
           Dense       3          15             12
    total                         15             12
    """
    rows = [('layer', 'kind', 'output', 'parameters', 'multiply-adds')]
    for layer in report.layers:
        output = 'x'.join(map(str, _per_image(layer)))
        rows.append((layer.path, layer.kind, output, f'{layer.parameters:,}', f'{layer.multiply_adds:,}'))
    rows.append(('total', '', '', f'{report.parameters:,}', f'{report.multiply_adds:,}'))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    if width is not None:
        widths[0] = min(widths[0], max(len('layer'), width - sum(widths[1:]) - 2 * 4))
    return '\n'.join(_line(row, widths) for row in rows)


def _per_image(layer):
    """The shape of a layer's output without the batch; () for an output that is no array."""
    return (layer.output or ())[1:]


def _line(row, widths):
    path, *cells = row
    if len(path) > widths[0]:
        path = '..' + path[len(path) - widths[0] + 2 :]
    kind, *numbers = cells
    right = [cell.rjust(width) for cell, width in zip(numbers, widths[2:], strict=True)]
    return '  '.join((path.ljust(widths[0]), kind.ljust(widths[1]), *right))


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected an integer >= 1, got {text!r}')
    return int(text)
