"""The picture of a segmentation run: learning curves, and test images with their classes, true and predicted."""

import jax
import jax.numpy as jnp
import numpy as np

from flax_dynconv.training.palette import coloured, palette
from flax_dynconv.training.panels import learning_curves, new_figure

IMAGES = 6
# More than that cannot be told apart.
MOST_NAMES = 30


def draw(path, task, trained, batch_size):
    """Write a PNG: curves of loss and mIoU of `trained` (role -> `Trained`), and a row of images, truth, predictions.

    The first test images, at most six; ignored pixels are white. Raises ImportError without matplotlib.
    """
    images, labels, predicted = examples(task, trained, batch_size)
    rows = [('image', images), ('truth', labels), *((f'{role}:\n{trained[role].name}', p) for role, p in predicted)]
    figure = new_figure(max(9.0, 2.1 * len(images)), 4.0 + 2.2 * len(rows), task, trained)
    curves, pictures = figure.subfigures(2, 1, height_ratios=[3.6, 2.2 * len(rows) + 0.4])
    learning_curves(curves, trained, task.score)
    grid = pictures.subplots(len(rows), len(images), squeeze=False)
    for axis in grid.ravel():
        axis.set(xticks=[], yticks=[])
    for line, (name, values) in zip(grid, rows, strict=True):
        line[0].set_ylabel(name, fontsize=9)
        for axis, value in zip(line, values, strict=True):
            axis.imshow(value if value.ndim == 3 else coloured(value, task.num_outputs), interpolation='nearest')
    _legend(pictures, task.classes)
    figure.savefig(path, dpi=110)


def examples(task, trained, batch_size, count=IMAGES):
    """The first test images (n, H, W, 3), their labels (n, H, W), and [(role, the classes that it predicts)]."""
    predict = {
        role: jax.jit(lambda v, b, model=run.model: jnp.argmax(task.predict(model, v, b), axis=-1))
        for role, run in trained.items()
    }
    parts, found = [], 0
    batches = task.batches('test', batch_size)
    for batch in batches:
        wanted = np.flatnonzero(batch['mask'])[: count - found]
        each = [np.asarray(predict[role](run.variables, batch))[wanted] for role, run in trained.items()]
        parts.append((batch['image'][wanted], batch['label'][wanted], *each))
        found += len(wanted)
        if found == count:
            break
    batches.close()
    images, labels, *predicted = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images, labels, list(zip(trained, predicted, strict=True))


def _legend(figure, classes):
    from matplotlib.patches import Patch

    colours = palette(len(classes)) / 255
    handles = [
        Patch(facecolor=colour, edgecolor='#888888', label=name)
        for name, colour in zip(classes[:MOST_NAMES], colours, strict=False)
    ]
    handles.append(Patch(facecolor='white', edgecolor='#888888', label='ignored'))
    figure.legend(handles=handles, loc='outside lower center', ncols=min(6, len(handles)), fontsize=8, frameon=False)
