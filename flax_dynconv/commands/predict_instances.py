"""`flax-dynconv predict --run RUN IMAGE... --output DIR`: the objects of images, as COCO's results and PNG files."""

import json
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw

from flax_dynconv.commands.image_files import read_images
from flax_dynconv.commands.output_files import output_files
from flax_dynconv.training.data.instance_results import results_of_image
from flax_dynconv.training.data.run_lengths import decode
from flax_dynconv.training.instance_picture import LEAST_SCORE, overlaid
from flax_dynconv.training.palette import palette

RESULTS = 'results.json'
ENDING = '_objects.png'


def write_instances(subject, paths, output, names, category_ids, count):
    """Write `results.json` and a PNG for each image into the folder `output`, and return what was found.

    `results.json` holds COCO's results of all images: a list of dicts with image_id, category_id, bbox, score and
    segmentation, in pixels of the file. The image_id is the number that is the file's name, as in COCO; unless all
    names are different numbers, it is the position of the image, from 1. NAME_objects.png is the image under the masks
    and boxes of what has a score of 0.4 or more.

    Returns [{'image', 'image_id', 'overlay', 'objects': [{'class', 'label', 'score', 'box'}]}], the `count` objects of
    the largest scores, their classes from `names`, `box` as x, y, width and height. Raises ValueError for several
    images that would have one PNG, and for a file that would overwrite an image; `UnreadableImage`.
    """
    output = Path(output)
    targets = output_files(paths, output, (ENDING,))
    output.mkdir(parents=True, exist_ok=True)
    find, results, written = _finder(subject, category_ids), [], []
    for path, image_id, (target,), image in zip(
        paths, image_ids(paths), targets, read_images(paths, lambda image: image), strict=True
    ):
        found = find(image, image_id)
        _drawn(image, [each for each in found if each['score'] >= LEAST_SCORE]).save(target)
        objects = [_described(each, names, category_ids) for each in found[:count]]
        results += found
        written.append({'image': str(path), 'image_id': image_id, 'overlay': str(target), 'objects': objects})
    (output / RESULTS).write_text(json.dumps(results))
    return written


def image_ids(paths):
    """The ids of images in COCO's results: the numbers that they are named by, or their positions from 1.

    >>> image_ids([Path('000000000139.jpg'), Path('7.jpg')]), image_ids([Path('a.jpg'), Path('7.jpg')])
    ([139, 7], [1, 2])
    """
    numbers = [int(path.stem) if path.stem.isascii() and path.stem.isdecimal() else None for path in paths]
    return numbers if None not in numbers and len(set(numbers)) == len(numbers) else list(range(1, len(paths) + 1))


def lines(record):
    """What is printed of an image."""
    objects = [
        f'{100 * each["score"]:8.2f} %  {each["class"]}  {" ".join(f"{side:.1f}" for side in each["box"])}'
        for each in record['objects']
    ]
    return '\n'.join([f'{record["image"]}: {record["overlay"]}', *objects])


def _finder(subject, category_ids):
    """f(PIL image RGB, image id) -> COCO's results of the image, the best first; compiled once: canvases are equal."""
    task, variables = subject.task, jax.device_get(subject.variables)

    @jax.jit
    def predicted(variables, batch):
        _, found, masks = task.predict(subject.model, variables, batch)
        return found.boxes, found.scores, found.classes, found.valid, masks

    def find(image, image_id):
        arrays = task.evaluation_transform(image, [])
        batch = {name: arrays[name][None] for name in ('image', 'size')}
        found = [array[0] for array in jax.device_get(predicted(variables, batch))]
        return results_of_image(
            *found,
            size=tuple(arrays['size'].tolist()),
            original=(image.height, image.width),
            image_id=image_id,
            category_ids=category_ids,
        )

    return find


def _described(result, names, category_ids):
    label = category_ids.index(result['category_id'])
    return {'class': names[label], 'label': label, 'score': result['score'], 'box': result['bbox']}


def _drawn(image, found):
    colours = palette(len(found) + 1)[1:]
    masks = [decode(each['segmentation']) for each in found]
    drawn = Image.fromarray(overlaid(np.asarray(image), masks, colours))
    pen = ImageDraw.Draw(drawn)
    for each, colour in zip(found, colours.tolist(), strict=True):
        x, y, width, height = each['bbox']
        pen.rectangle((x, y, max(x, x + width - 1), max(y, y + height - 1)), outline=tuple(colour))
    return drawn
