"""The options that say which network is meant and what its inputs are; evaluate and predict share them."""

import argparse
import json

from flax_dynconv.training.settings import INPUTS


def add_options(parser):
    """Add the options of a checkpoint, of weights and of the inputs to an argparse parser."""
    run = parser.add_argument_group('a network of a run')
    run.add_argument(
        '--checkpoint',
        type=_checkpoint,
        metavar='WHICH',
        help='newest, best or the number of a step (default: newest)',
    )
    weights = parser.add_argument_group('or weights')
    weights.add_argument('--model', metavar='NAME', help='the network, a name that `flax-dynconv models` lists')
    weights.add_argument(
        '--weights',
        metavar='FILE',
        help='what `flax-dynconv convert` wrote, or PyTorch weights of a network that has a reference',
    )
    weights.add_argument(
        '--arguments', metavar='JSON', help='further fields of the network as a JSON object, such as \'{"width": 0.5}\''
    )
    weights.add_argument('--dtype', choices=('float32', 'bfloat16', 'float16'), help='of the computation')
    inputs = parser.add_argument_group('inputs (default: as the run had them, or as the weights were published)')
    inputs.add_argument('--image-size', type=int, metavar='N', help='pixels of an input')
    inputs.add_argument('--resize', type=int, metavar='N', help='pixels of the shorter side before the central crop')
    inputs.add_argument('--interpolation', choices=('bilinear', 'bicubic'), help="PIL's filter")
    inputs.add_argument('--mean', type=float, nargs=3, metavar='X', help='of red, green and blue, from 0 to 1')
    inputs.add_argument('--std', type=float, nargs=3, metavar='X', help='of red, green and blue')


def is_run(args, folder, name):
    """Whether a run is meant, and not weights; ValueError unless it is one of them. `name` is the option's of `folder`.

    >>> none = dict.fromkeys(('model', 'weights', 'arguments', 'dtype', 'checkpoint'))
    >>> is_run(argparse.Namespace(**none), 'runs/digits', '--run')
    True
    """
    of_weights = [option for option in ('model', 'weights', 'arguments', 'dtype') if getattr(args, option) is not None]
    if folder is not None:
        if of_weights:
            raise ValueError(f'{name} has a network of its own, got --{of_weights[0]} too')
        return True
    if args.model is None or args.weights is None:
        raise ValueError(f'expected {name} of a run, or --model NAME and --weights FILE')
    if args.checkpoint is not None:
        raise ValueError(f'--checkpoint is for {name} of a run, got it with --weights')
    return False


def inputs_given(args):
    """The settings of the inputs that were given.

    >>> inputs_given(argparse.Namespace(image_size=96, resize=None, interpolation=None, mean=[0.5, 0.5, 0.5], std=None))
    {'image_size': 96, 'mean': (0.5, 0.5, 0.5)}
    """
    given = {name: getattr(args, name) for name in INPUTS}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None}


def network_given(args):
    """The settings of the network that were given with weights; ValueError for arguments that are no JSON object."""
    given = {'model': args.model, 'arguments': args.arguments, 'dtype': args.dtype}
    return {name: value for name, value in given.items() if value is not None}


def positive(text):
    """An integer >= 1.

    >>> positive('12')
    12
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected an integer >= 1, got {text!r}')
    return int(text)


def to_json(value):
    """JSON for a program to read."""
    return json.dumps(value, indent=2, allow_nan=False)


def _checkpoint(text):
    if text in ('newest', 'best'):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'expected newest, best or the number of a step, got {text!r}')
    return int(text)
