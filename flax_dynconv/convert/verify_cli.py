"""The command `flax-dynconv verify`: its arguments and its exit status."""

import argparse
import json
import sys

from flax_dynconv.convert.errors import CaseError
from flax_dynconv.convert.verifier import DTYPES, verify

WITHIN, OUTSIDE, UNUSABLE = 0, 1, 2


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `verify CASE [--tolerance T] [--dtype D] [--json]` to a command's subparsers."""
    parser = subparsers.add_parser(
        'verify',
        help='run a reference case saved from PyTorch and compare the outputs',
        description='Run the Flax counterpart of a PyTorch module on a reference case and compare with its outputs. '
        'Exit status: 0 within the bounds, 1 outside, 2 unusable file.',
    )
    parser.add_argument('case', metavar='CASE', help='a .npz or .safetensors file from save_reference_case')
    parser.add_argument(
        '--tolerance',
        type=_tolerance,
        default=1e-5,
        help='the bound of an output is tolerance * max(1, max|reference|) (default %(default)g)',
    )
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='dtype of the computation')
    parser.add_argument('--json', action='store_true', help='print the report as one JSON object')
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Verify and print; the exit status is 0 within the bounds, 1 outside and 2 for an unusable file."""
    try:
        report = verify(args.case, tolerance=args.tolerance, dtype=args.dtype)
    except CaseError as error:
        if args.json:
            print(json.dumps({'ok': False, 'error': str(error)}))
        print(f'error: {error}', file=sys.stderr)
        return UNUSABLE
    print(json.dumps(report.as_dict(), indent=2) if args.json else report)
    return WITHIN if report.ok else OUTSIDE


def _tolerance(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError(f'expected a number >= 0, got {text!r}')
    return value
