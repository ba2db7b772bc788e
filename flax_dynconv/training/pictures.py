"""The picture of a run: learning curves of its networks, and the kernel attention of each class in every layer."""

import jax
import numpy as np

from flax_dynconv.training.extras import require
from flax_dynconv.training.monitoring.curves import draw_results, over_epochs

MOST_COLUMNS = 6
# More rows than that cannot be told apart, and a row for each class costs a pass over the test images.
MOST_CLASSES = 20


def draw(path, task, trained, batch_size):
    """Write a PNG: above the learning curves of `trained` (role -> `Trained`), below the attention of the dynamic one.

    The attention is left out where there are more than 20 classes. Raises ImportError without matplotlib.
    """
    require('matplotlib', 'draws the picture')
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dynamic = trained.get('dynamic')
    attention = {}
    if dynamic is not None and task.num_outputs <= MOST_CLASSES:
        attention = class_attention(task, dynamic.model, dynamic.variables, batch_size)
    columns = min(MOST_COLUMNS, max(3, len(attention)))
    rows = -(-len(attention) // columns)
    figure = Figure(figsize=(13.6, 4.2 + 3.1 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    names = ', '.join(f'{role}: {run.name}' for role, run in trained.items())
    figure.suptitle(f'Training on {task.name} ({names})')
    parts = figure.subfigures(2 if rows else 1, 1, height_ratios=[3.6, 3.1 * rows] if rows else None, squeeze=False)
    _curves(parts[0, 0].subplots(1, 3), trained, task.score)
    if rows:
        _attentions(parts[1, 0], attention, rows, columns)
    figure.savefig(path, dpi=130)


def class_attention(task, model, variables, batch_size, split='test'):
    """Mean kernel attention of each class in every dynamic layer: {layer path: (classes, K)}, over a whole split.

    Attention per output channel (B, K, Cout) is averaged over the channels. Layers appear in the order of the network.
    """

    @jax.jit
    def attend(variables, batch):
        _, shown = model.apply(variables, *task.inputs(batch), train=False, mutable=['intermediates'])
        member = jax.nn.one_hot(batch['label'], task.num_outputs) * batch['mask'][:, None]
        leaves, _ = jax.tree.flatten_with_path(shown)
        sums = {}
        for path, value in leaves:
            names = [key.key for key in path if hasattr(key, 'key')]
            if names[-1] == 'attention_kernel':
                value = value.reshape(*value.shape[:2], -1).mean(axis=-1)
                sums['/'.join(names[1:-1])] = member.T @ value
        return sums, member.sum(axis=0)

    totals = None
    for batch in task.batches(split, batch_size):
        new = jax.tree.map(lambda x: np.asarray(x, np.float64), attend(variables, batch))
        totals = new if totals is None else jax.tree.map(np.add, totals, new)
    sums, count = totals
    return {layer: total / np.maximum(count, 1)[:, None] for layer, total in sums.items()}


def _curves(axes, trained, score):
    loss, error, schedule = axes
    draw_results(loss, error, {role: run.history for role, run in trained.items()}, score)
    records = next(iter(trained.values())).history
    epochs = [record['epoch'] for record in records]
    lines = schedule.plot(epochs, [r['temperature'] for r in records], color='#333333', label='attention temperature')
    rate = schedule.twinx()
    values = [record['learning_rate'] for record in records]
    lines += rate.plot(epochs, values, color='#888888', linestyle='--', label='learning rate')
    schedule.set(title='Schedules (at the end of each epoch)', ylabel='attention temperature', ylim=(0, None))
    rate.set(ylabel='learning rate', ylim=(0, None))
    schedule.legend(handles=lines, fontsize=8)
    for axis in axes:
        over_epochs(axis)


def _attentions(part, attention, rows, columns):
    part.suptitle('Which kernels each class uses: mean attention over its test examples, in every dynamic layer')
    axes = part.subplots(rows, columns, squeeze=False, sharey=True)
    most = max(values.max() for values in attention.values())
    for axis, (layer, values) in zip(axes.ravel(), attention.items(), strict=False):
        image = axis.imshow(values, aspect='auto', cmap='viridis', vmin=0, vmax=most)
        axis.set_title(layer, fontsize=9)
        axis.set(xlabel='kernel', xticks=range(values.shape[1]), yticks=range(values.shape[0]))
    for axis in axes.ravel()[len(attention) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel('class')
    part.colorbar(image, ax=axes, label='attention', shrink=0.9, pad=0.01)
