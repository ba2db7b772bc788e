"""The picture of a run on instances: learning curves, and test images with their objects, true and found."""

import jax
import numpy as np

from flax_dynconv.training.palette import palette
from flax_dynconv.training.panels import learning_curves, new_figure

IMAGES = 6
# Least score of a detection that is drawn.
LEAST_SCORE = 0.4
# Of an object's colour over its pixels.
OPACITY = 0.5


def draw(path, task, trained, batch_size):
    """Write a PNG: curves of loss and mask AP of `trained` (role -> `Trained`), and rows of true and found objects.

    Of the first test images, at most six, with mask, box and class of each object, and with the score of those found,
    if it is 0.4 or more. Raises ImportError without matplotlib.
    """
    shown = examples(task, trained, batch_size)
    rows = ['truth', *(f'{role}:\n{run.name}' for role, run in trained.items())]
    figure = new_figure(max(9.0, 2.4 * len(shown)), 4.0 + 2.5 * len(rows), task, trained)
    curves, pictures = figure.subfigures(2, 1, height_ratios=[3.6, 2.5 * len(rows) + 0.4])
    learning_curves(curves, trained, task.score)
    grid = pictures.subplots(len(rows), len(shown), squeeze=False)
    for axes, (image, *objects) in zip(grid.T, shown, strict=True):
        for axis, found in zip(axes, objects, strict=True):
            draw_objects(axis, image, found, task.classes)
    for axis, name in zip(grid[:, 0], rows, strict=True):
        axis.set_ylabel(name, fontsize=9)
    figure.savefig(path, dpi=110)


def examples(task, trained, batch_size, count=IMAGES):
    """[(image (H, W, 3), true objects, objects that each network finds)] of the first test images.

    Objects are dicts of 'box' (x0, y0, x1, y1), 'mask' (H, W) bool, 'label', 'score', None of true ones.
    """
    predict = {
        role: jax.jit(lambda v, b, model=run.model: task.predict(model, v, b)[1:]) for role, run in trained.items()
    }
    found = []
    batches = task.batches('test', batch_size)
    for batch in batches:
        each = [jax.device_get(predict[role](run.variables, batch)) for role, run in trained.items()]
        for row in np.flatnonzero(batch['mask'])[: count - len(found)]:
            height, width = batch['size'][row]
            image = np.asarray(batch['image'][row, :height, :width])
            predicted = [task.found(detections, masks, row, (height, width), LEAST_SCORE) for detections, masks in each]
            found.append((image, task.true_objects(int(batch['index'][row]), (height, width)), *predicted))
        if len(found) == count:
            break
    batches.close()
    return found


def draw_objects(axis, image, objects, classes):
    """An image (H, W, 3) uint8 under the masks, boxes and names of objects, each with a colour of its own."""
    from matplotlib.patches import Rectangle

    colours = palette(len(objects) + 1)[1:]
    axis.imshow(overlaid(image, [each['mask'] for each in objects], colours), interpolation='nearest')
    axis.set(xticks=[], yticks=[])
    for each, colour in zip(objects, colours / 255, strict=True):
        x0, y0, x1, y1 = each['box']
        axis.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1))
        name = classes[each['label']]
        text = name if each['score'] is None else f'{name} {each["score"]:.2f}'
        box = {'facecolor': colour, 'edgecolor': 'none', 'pad': 0.6, 'alpha': 0.8}
        axis.text(x0, y0, text, fontsize=5, color='white', va='bottom', bbox=box, clip_on=True)


def overlaid(image, masks, colours, opacity=OPACITY):
    """An image (H, W, 3) uint8 whose pixels in the masks (H, W) are mixed with their colours (N, 3), one by one.

    >>> overlaid(np.zeros((1, 2, 3), np.uint8), [np.array([[True, False]])], np.array([[200, 100, 0]])).tolist()
    [[[100, 50, 0], [0, 0, 0]]]
    """
    mixed = np.asarray(image, np.float32)
    for mask, colour in zip(masks, colours, strict=True):
        covered = (1 - opacity) * mixed + opacity * np.asarray(colour, np.float32)[None, None, :]
        mixed = np.where(np.asarray(mask)[:, :, None], covered, mixed)
    return np.round(mixed).astype(np.uint8)
