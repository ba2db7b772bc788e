"""`flax-dynconv evaluate`: test the checkpoints of a finished run again."""

import json
from pathlib import Path

from flax_dynconv.training import experiment


def add_parser(subparsers):
    """Add the command to argparse's subparsers."""
    parser = subparsers.add_parser('evaluate', help='reload the networks of a run and test them again')
    parser.add_argument('run_dir', type=Path, help='folder that `train` wrote')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args):
    """Print the figures of each reloaded network; exit code 1 if one differs from what training recorded."""
    figures = experiment.evaluate(args.run_dir)
    same = all(figure['recorded'] == figure['reloaded'] for figure in figures.values())
    if args.json:
        print(json.dumps(figures, indent=2))
        return 0 if same else 1
    for role, figure in figures.items():
        again, before = figure['reloaded'], figure['recorded']
        values = ', '.join(f'test {name} {value:.6g}' for name, value in again.items())
        verdict = 'as recorded' if again == before else f'recorded: {before}'
        print(f'{role} {figure["model"]}: {values} ({verdict})')
    return 0 if same else 1
