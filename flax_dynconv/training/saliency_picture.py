"""The picture of a saliency run: learning curves, test images with depth, prediction and truth, and made kernels."""

import jax
import numpy as np
from scipy import ndimage

from flax_dynconv.models import dynamic_kernels
from flax_dynconv.training.panels import learning_curves, new_figure, show
from flax_dynconv.training.saliency.predictions import foreground

IMAGES, POSITIONS = 6, 4
# On the image, and beside the kernels at these places.
_MARKS = ('o', 's', '^', 'D')


def draw(path, task, trained, batch_size):
    """Write a PNG: curves of loss and score of `trained` (role -> `Trained`), then the first test images, at most six.

    Below are, for the first of them with an object, the kernels of the finest level that has some: at four positions,
    of the object and of the ground, the mean over the channels of their absolute values, for each dilation. Raises
    ImportError without matplotlib.
    """
    ((_, run),) = trained.items()
    arrays, predicted, kernels = examples(task, run, batch_size)
    chosen = next((i for i, target in enumerate(arrays['target']) if target.any()), 0)
    count = len(predicted)
    figure = new_figure(max(9.0, 2.0 * count), 17.0 if kernels else 13.0, task, trained)
    heights = [3.6, 8.6, *((4.4,) if kernels else ())]
    curves, pictures, *below = figure.subfigures(len(heights), 1, height_ratios=heights)
    learning_curves(curves, trained, task.score)
    rows = {
        'image': arrays['image'],
        'depth': arrays['depth'],
        'prediction': predicted,
        'truth': arrays['target'],
    }
    grid = pictures.subplots(len(rows), count, squeeze=False)
    for line, (name, values) in zip(grid, rows.items(), strict=True):
        for axis, value in zip(line, values, strict=True):
            grey = {} if name == 'image' else {'cmap': 'gray', 'vmin': 0, 'vmax': 1}
            axis.imshow(value if name == 'image' else value[..., 0], interpolation='nearest', **grey)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=9)
    if kernels:
        places = positions(arrays['target'][chosen, ..., 0])
        _kernels(below[0], arrays['image'][chosen], places, {name: k[chosen] for name, k in kernels.items()})
    figure.savefig(path, dpi=110)


def examples(task, run, batch_size, count=IMAGES):
    """Of the first test images: arrays of the batch, probabilities (n, S, S, 1), and the kernels of the finest level.

    Kernels are (n, h, w, 3, 3, C) by the path of their module; {} for a network without them.
    """
    predict = jax.jit(lambda v, batch: dynamic_kernels(run.model, v, *task.inputs(batch), train=False))
    parts, found = [], 0
    batches = task.batches('test', batch_size)
    for batch in batches:
        wanted = np.flatnonzero(batch['mask'])[: count - found]
        logits, kernels = predict(run.variables, batch)
        kernels = {name: np.asarray(k)[wanted] for name, k in finest(kernels).items()}
        chosen = {name: batch[name][wanted] for name in ('image', 'depth', 'target')}
        parts.append((chosen, np.asarray(jax.nn.sigmoid(logits), np.float32)[wanted], kernels))
        found += len(wanted)
        if found == count:
            break
    batches.close()
    return jax.tree.map(lambda *each: np.concatenate(each), *parts)


def positions(target, count=POSITIONS):
    """Places [(row, column)] in a target (S, S): half of them in the object, half on the ground, as far as there are.

    Of each the first is the place that is farthest from the other kind, the next those farthest from the ones before.

    >>> target = np.zeros((9, 9))
    >>> target[2:7, 2:7] = 1
    >>> positions(target, 2)
    [(4, 4), (0, 0)]
    """
    inside = foreground(target)
    return [place for area in (inside, ~inside) for place in _spread(area, count // 2)]


def _spread(area, count):
    places, chosen = np.argwhere(area), []
    if not len(places):
        return []
    far = ndimage.distance_transform_edt(area)[area] if not area.all() else np.zeros(len(places))
    for _ in range(min(count, len(places))):
        chosen.append(places[int(np.argmax(far))])
        each = [np.sum((places - place) ** 2, axis=-1) for place in chosen]
        far = np.min(each, axis=0)
    return [tuple(int(i) for i in place) for place in chosen]


def finest(kernels):
    """Those of `kernels` (path -> (n, h, w, 3, 3, C)) with the most positions."""
    most = max((k.shape[1] * k.shape[2] for k in kernels.values()), default=0)
    return {name: k for name, k in kernels.items() if k.shape[1] * k.shape[2] == most}


def _kernels(part, image, places, kernels):
    """The image with marks at places; and the kernels there (h, w, 3, 3, C), a row of taps for each module."""
    part.suptitle('Kernels at four positions: mean of |k| over the channels', fontsize=10)
    left, right = part.subfigures(1, 2, width_ratios=[1, 2.2])
    axis = left.subplots()
    axis.imshow(image, interpolation='nearest')
    axis.set(xticks=[], yticks=[])
    for (row, column), mark in zip(places, _MARKS, strict=False):
        axis.plot(column, row, mark, color='white', markeredgecolor='black', markersize=8)
    sizes = {name: np.abs(k).mean(axis=-1) for name, k in kernels.items()}
    grid = right.subplots(len(kernels), len(places), squeeze=False)
    for line, (name, k) in zip(grid, sizes.items(), strict=True):
        scale = [k.shape[i] / image.shape[i] for i in (0, 1)]
        taps = [k[int(row * scale[0]), int(column * scale[1])] for row, column in places]
        for axis, mark, values in zip(line, _MARKS, taps, strict=False):
            title = f'{name} ({mark})' if axis is line[0] else f'({mark})'
            show(axis, values, title, cmap='viridis', vmax=max(float(np.max(taps)), 1e-12))
