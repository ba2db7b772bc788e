"""Training steps of several networks side by side: what each method costs under one recipe.

    python benchmarks/training_step.py [--recipe cifar10-short] [--rounds 10] [NETWORK ...]

All run in one process, one step of each in turn, on noise of the recipe's shapes (reading and augmentation are not in
it); medians, and their ratio to the first. The default networks are those of the CIFAR-10 recipes.
"""

import argparse
import os
import statistics
import time

import jax
import numpy as np

from flax_dynconv.training import experiment
from flax_dynconv.training.classification import Classification
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.recipes import find_recipe
from flax_dynconv.training.recipes.cifar10 import NETWORKS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--recipe', default='cifar10-short')
    parser.add_argument('--size', type=int, default=32, help='pixels')
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('networks', nargs='*', default=NETWORKS)
    args = parser.parse_args()
    steps = {name: Started(name, find_recipe(args.recipe).settings, args.size) for name in args.networks}
    for _ in range(args.rounds + 1):  # The first round warms up.
        for step in steps.values():
            step()
    print(f'recipe {args.recipe}, {args.size} pixels, {args.rounds} rounds, load {os.getloadavg()[0]:.1f}')
    print('| network | ms per step | to the first |\n|---|---|---|')
    medians = {name: statistics.median(step.seconds[1:]) for name, step in steps.items()}
    for name, median in medians.items():
        print(f'| {name} | {1000 * median:.0f} | {median / medians[args.networks[0]]:.2f} |')


class Started:
    """A compiled training step with its state; calling it makes one step and keeps its seconds."""

    def __init__(self, name, settings, size):
        settings = settings.updated(model=name)
        generator, batch = np.random.default_rng(0), settings.images.batch_size
        images = generator.standard_normal((batch, size, size, 3)).astype(np.float32)
        labels = generator.integers(0, 10, batch).astype(np.int32)
        splits = ('train', 'test')
        task = Classification('noise', dict.fromkeys(splits, images), dict.fromkeys(splits, labels), 10)
        plan = Plan(experiment.build(name, 10, settings), task, settings)
        self.step, _ = plan.compiled()
        self.state, self.batch, self.seconds = plan.initial(), next(plan.batches('train')), []

    def __call__(self):
        start = time.perf_counter()
        self.state, _, figures = self.step(self.state, self.batch)
        jax.block_until_ready((self.state, figures))
        self.seconds.append(time.perf_counter() - start)


if __name__ == '__main__':
    main()
