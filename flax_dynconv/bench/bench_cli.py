"""The command `flax-dynconv bench`."""

import argparse
import importlib.util
import math
import sys
from pathlib import Path

from flax_dynconv.bench import cells, machine


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `bench [--suite ops|models] [--peers] [--json OUT]` and its finer arguments to a command's subparsers."""
    parser = subparsers.add_parser(
        'bench',
        help='what operators and networks cost on this machine',
        description='Measure every form of the operators on named shapes of published models, or whole networks, '
        'against the static ones and against PyTorch, and print tables (markdown) and a line for each mark. JAX and '
        'PyTorch have a process each and work in turns; the machine should do nothing else.',
    )
    parser.add_argument('--suite', choices=cells.SUITES, default='ops', help='default: ops')
    parser.add_argument('--peers', action='store_true', help="also measure PyTorch's forms (needs torch)")
    parser.add_argument('--json', metavar='OUT', help='write the results here, after every cell')
    parser.add_argument('--only', metavar='PATTERN', nargs='+', default=[], help="names such as 'resnet18_*'")
    parser.add_argument('--batch', metavar='B', type=_positive, nargs='+', help='default: 1 8 32; networks: 16')
    parser.add_argument(
        '--forms',
        choices=('all', 'chosen'),
        default='all',
        help='chosen: only what implementation=None takes, and vmap',
    )
    parser.add_argument('--rounds', metavar='N', type=_positive, default=5, help='least number of turns (default: 5)')
    parser.add_argument('--seconds', metavar='S', type=_seconds, default=0.5, help='time for a program (default: 0.5)')
    parser.add_argument(
        '--cap', metavar='S', type=_seconds, default=20.0, help='what runs longer is broken off (default: 20)'
    )
    parser.add_argument('--no-vmap', action='store_true', help='leave out vmap, which takes most of the time')
    parser.add_argument('--wait-idle', metavar='S', type=float, default=0.0, help='wait so long for an idle machine')
    parser.add_argument('--compare', metavar='OLD', help='results of an earlier run, for a column of ratios')
    parser.add_argument(
        '--calibrate',
        metavar='RESULTS',
        nargs='+',
        help='measure nothing: fit the constants of the choice of forms to such results, print their file, and to '
        'stderr how good the choices are',
    )
    parser.set_defaults(run=run)
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected a number >= 1, got {text}')
    return value


def _seconds(text):
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f'expected a number of seconds > 0, got {text}')
    return value


def run(args: argparse.Namespace) -> int:
    """Measure, print, write; exit code 0, or 130 where Ctrl-C ended the run early."""
    from flax_dynconv.bench import results, running, tables

    if args.calibrate:
        return calibrate([results.read(path) for path in args.calibrate])
    if args.json and not Path(args.json).absolute().parent.is_dir():
        raise FileNotFoundError(f'--json: there is no folder for {args.json}')
    if args.json and Path(args.json).is_dir():
        raise IsADirectoryError(f'--json: expected a file, {args.json} is a folder')
    chosen = cells.select(args.suite, args.only)
    old = results.read(args.compare) if args.compare else None
    if args.peers and importlib.util.find_spec('torch') is None:
        raise ImportError("torch is not installed; --peers runs it: pip install torch (the extra 'test' has it too)")
    load = machine.wait_until_idle(args.wait_idle)
    if load >= machine.IDLE_LOAD:
        print(f'flax-dynconv bench: warning: the machine is not idle (load {load:.1f})', file=sys.stderr)
    found, whole = running.run(chosen, args, load)
    print(tables.report(found, old))
    return 0 if whole else 130


def calibrate(runs) -> int:
    """Print the file of constants that fits the runs, and to stderr what follows from it."""
    from flax_dynconv.bench import calibration

    text, quality = calibration.report(runs)
    print(text, end='')
    print(quality, file=sys.stderr)
    return 0
