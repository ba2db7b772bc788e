"""One recipe for all methods on CIFAR-10: accuracy, cost and time of a small ResNet, static and dynamic.

    pip install '.[train]'
    python benchmarks/cifar10.py cifar10.zip [--recipe cifar10-short] [--seeds 0] [--runs runs/cifar10] [FLAGS]

`cifar10.zip` holds train/CLASS/IMAGE and test/CLASS/IMAGE. Each network is trained by `flax-dynconv train` in a process
of its own, one after the other; what is finished is read and what was stopped goes on, so the command can be repeated.
Other flags go to `flax-dynconv train` for each of them. The table has the test accuracy after the last epoch (with
several seeds the mean and the range), parameters, multiply-adds of an image and the median of seconds per epoch.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from flax_dynconv.training.recipes.cifar10 import NETWORKS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', help='CIFAR-10 as a .zip, a .tar or a folder')
    parser.add_argument('--recipe', default='cifar10-short', help='a name of `flax-dynconv recipes`')
    parser.add_argument('--seeds', type=int, nargs='*', default=[0])
    parser.add_argument('--runs', type=Path, default=Path('runs/cifar10'), help='folder of the runs')
    args, args.flags = parser.parse_known_args()
    rows = {}
    for seed in args.seeds:
        for name in NETWORKS:
            rows.setdefault(name, []).append(trained(name, seed, args))
    print('| network | test accuracy | parameters | multiply-adds | seconds per epoch | to static |')
    print('|---|---|---|---|---|---|')
    base = seconds(rows[NETWORKS[0]])
    for name, runs in rows.items():
        print(
            f'| {name} | {accuracy(runs)} | {runs[0]["parameters"]:,} | {runs[0]["multiply_adds"]:,} '
            f'| {seconds(runs):.0f} | {seconds(runs) / base:.2f} |'
        )


def trained(name, seed, args):
    """What `results.json` says of a network; trains it, or the rest of it, if there is none."""
    folder = args.runs / f'{args.recipe}-{name}-{seed}'
    if not (folder / 'results.json').exists():
        command = [sys.executable, '-m', 'flax_dynconv.cli', 'train', '--run-dir', str(folder)]
        if (folder / 'config.json').exists():
            command.append('--resume')
        else:
            command += ['--recipe', args.recipe, '--data', args.data, '--model', name, '--seed', str(seed), *args.flags]
        subprocess.run(command, check=True)
    results = json.loads((folder / 'results.json').read_text())
    return results['dynamic' if 'dynamic' in results else 'static']


def accuracy(runs):
    values = [100 * run['test_accuracy'] for run in runs]
    mean = f'{statistics.mean(values):.2f} %'
    return mean if len(values) == 1 else f'{mean} ({min(values):.2f} to {max(values):.2f})'


def seconds(runs):
    return statistics.median(record['seconds'] for run in runs for record in run['history'])


if __name__ == '__main__':
    main()
