"""The command `flax-dynconv models`: names of networks."""

import argparse
import difflib
import json
import sys

from flax_dynconv.models.registry import MODELS, list_models, static_twin

FOUND, NONE = 0, 1


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `models [PATTERN] [--json]` to a command's subparsers."""
    parser = subparsers.add_parser(
        'models',
        help='names of the networks',
        description='Print the names of the networks, one on each line. Exit status: 0, or 1 where none matches.',
    )
    parser.add_argument('pattern', metavar='PATTERN', nargs='?', default='*', help="such as 'odconv_*' (default: all)")
    parser.add_argument(
        '--json', action='store_true', help='print a list of objects with the keys name and static_twin'
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the names that match; without any, the closest ones on the error stream."""
    names = list_models(args.pattern)
    if args.json:
        print(json.dumps([{'name': name, 'static_twin': _twin(name)} for name in names], indent=2))
    elif names:
        print('\n'.join(names))
    if names:
        return FOUND
    close = _close(args.pattern)
    hint = f'; did you mean {", ".join(close)}?' if close else ''
    print(f'no model matches {args.pattern!r}{hint}', file=sys.stderr)
    return NONE


def _close(pattern):
    """Names near a pattern: those that hold its text, else those that are spelled like it."""
    text = pattern.strip('*').lower()
    within = [name for name in sorted(MODELS) if text and text in name]
    return within[:4] or difflib.get_close_matches(text, MODELS, n=4)


def _twin(name):
    """The network of the same shape without dynamic convolutions; None where the library has none."""
    try:
        return static_twin(name)
    except ValueError:
        return None
