"""Parts of the pictures of runs that several tasks draw: a figure, learning curves, images without axes."""

import numpy as np

from flax_dynconv.training.extras import require
from flax_dynconv.training.monitoring.curves import draw_results, over_epochs


def new_figure(width, height, task, trained):
    """A figure of that size in inches, whose title names the task and the networks; ImportError without matplotlib."""
    require('matplotlib', 'draws the picture')
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(f'Training on {task.name} ({", ".join(f"{role}: {run.name}" for role, run in trained.items())})')
    return figure


def learning_curves(part, trained, score):
    """Loss and 100 % - score over the epochs, side by side in a part of a figure."""
    axes = part.subplots(1, 2)
    draw_results(*axes, {role: run.history for role, run in trained.items()}, score)
    for axis in axes:
        over_epochs(axis)


def show(axis, pixels, title='', **options):
    """An image (H, W) or (H, W, 1) without axes, in greys from 0 to 1 unless the options of `imshow` say otherwise."""
    pixels = np.asarray(pixels, np.float32)
    pixels = pixels[..., 0] if pixels.ndim == 3 else pixels
    axis.imshow(pixels, **{'cmap': 'gray', 'vmin': 0, 'vmax': 1, 'interpolation': 'nearest'} | options)
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()


def first_examples(task, count):
    """The first examples of the test split as one batch."""
    return next(iter(task.batches('test', min(count, task.examples.size('test')))))
