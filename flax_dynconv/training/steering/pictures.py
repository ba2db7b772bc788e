"""The picture of steerable filtering: learned filters beside the true ones, filtered images, learning curves."""

import jax
import numpy as np

from flax_dynconv.models import steering_kernel
from flax_dynconv.training import panels
from flax_dynconv.training.steering.task import correlation

ANGLES, IMAGES = 8, 2


def draw(path, task, trained):
    """Write a PNG of the one network in `trained` (role -> `Trained`)."""
    (run,) = trained.values()
    batch = spread(task, ANGLES)
    count = len(batch['theta'])
    output, taps = jax.jit(lambda v, inputs: run.model.apply(v, *inputs, train=False))(
        run.variables, task.inputs(batch)
    )
    truth = steering_kernel(batch['theta'])
    figure = panels.new_figure(max(8, 1.5 * count), 10, task, trained)
    above, middle, below = figure.subfigures(3, 1, height_ratios=[3.4, 3.2, 3.4])
    _filters(above, batch['theta'], np.asarray(truth), np.asarray(taps, np.float32))
    _images(middle, batch, np.asarray(output, np.float32))
    panels.learning_curves(below, trained, task.score)
    figure.savefig(path, dpi=130)


def spread(task, count):
    """As many test examples, evenly spread over the test angles, as one batch."""
    size = task.examples.size('test')
    chosen = np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(int))
    made = [task.examples.test(int(index)) for index in chosen]
    return {name: np.stack([example[name] for example in made]) for name in made[0]}


def _filters(part, theta, truth, taps):
    sizes = np.sqrt(taps.shape[1]).astype(int)
    learned = taps.reshape(len(taps), sizes, sizes)
    most, same = np.abs(truth).max(), learned.shape == truth.shape
    close = np.asarray(correlation(learned, truth)) if same else None
    axes = part.subplots(2, len(theta), squeeze=False)
    part.suptitle('Filters of test angles: the true ones, and those that the network generates', fontsize=10)
    for i, angle in enumerate(theta):
        colours = {'cmap': 'RdBu_r', 'vmin': -most, 'vmax': most}
        panels.show(axes[0, i], truth[i], f'{np.degrees(angle):.0f}°', **colours)
        panels.show(axes[1, i], learned[i], f'correlation {close[i]:.5f}' if same else 'generated', **colours)


def _images(part, batch, output):
    shown = range(0, len(output), max(1, len(output) // IMAGES))[:IMAGES]
    axes = part.subplots(1, 4 * len(shown), squeeze=False)[0]
    part.suptitle('Test images: what is seen, filtered, filtered by the network, and the difference', fontsize=10)
    for i, places in zip(shown, axes.reshape(-1, 4), strict=True):
        most = np.abs(batch['target'][i]).max()
        colours = {'cmap': 'RdBu_r', 'vmin': -most, 'vmax': most}
        panels.show(places[0], batch['image'][i], f'image, {np.degrees(batch["theta"][i]):.0f}°')
        panels.show(places[1], batch['target'][i], 'true', **colours)
        panels.show(places[2], output[i], 'network', **colours)
        error = output[i] - batch['target'][i]
        panels.show(places[3], error, f'difference, up to {np.abs(error).max():.1g}', **colours)
