"""A small folder in COCO's format: files of images and annotations, by path."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from tests.training.data.labelled import png

# By id, not in order; ids have gaps.
CATEGORIES = [{'id': 7, 'name': 'cat'}, {'id': 2, 'name': 'dog'}, {'id': 90, 'name': 'bird'}]
HEIGHT, WIDTH = 30, 40
SQUARE = [[10.0, 5.0, 20.0, 5.0, 20.0, 15.0, 10.0, 15.0]]
TWO_PARTS = [[1.5, 1.5, 8.0, 2.0, 4.0, 9.5], [30.0, 20.0, 38.0, 20.0, 38.0, 28.5, 33.0, 29.0]]


def blob(seed=0, size=(HEIGHT, WIDTH)):
    """A random mask of several pieces."""
    mask = np.zeros(size, bool)
    generator = np.random.default_rng(seed)
    for _ in range(3):
        y, x = generator.integers(0, size[0] - 8), generator.integers(0, size[1] - 8)
        mask[y : y + generator.integers(2, 8), x : x + generator.integers(2, 8)] = True
    return mask


def compressed(mask):
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {'size': list(mask.shape), 'counts': found['counts'].decode()}


def uncompressed(mask):
    flat = mask.ravel(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    counts = np.diff(np.unique(np.concatenate([[0], edges, [flat.size]]))).tolist()
    return {'size': list(mask.shape), 'counts': [0] * bool(flat[0]) + counts}


def annotation(number, image, category, segmentation, bbox, **changes):
    made = {'id': number, 'image_id': image, 'category_id': category, 'segmentation': segmentation, 'bbox': bbox}
    return made | {'area': 50.0, 'iscrowd': 0} | changes


def annotations(split='train'):
    """Image 9 has three kinds of outlines, 3 a crowd and an object, 5 nothing, and 12 only a crowd."""
    first = 100 if split == 'train' else 1000
    return [
        annotation(first + 4, 9, 7, SQUARE, [10.0, 5.0, 10.0, 10.0], area=100.0),
        annotation(first + 1, 9, 90, TWO_PARTS, [1.5, 1.5, 36.5, 27.5]),
        annotation(first + 2, 9, 2, compressed(blob()), [0, 0, 40, 30]),
        annotation(first + 3, 3, 2, uncompressed(blob(1)), [0, 0, 40, 30], iscrowd=1),
        annotation(first + 5, 3, 2, SQUARE, [10.0, 5.0, 10.0, 10.0]),
        annotation(first + 6, 12, 2, uncompressed(blob(2)), [0, 0, 40, 30], iscrowd=1),
    ]


def content(split='train'):
    images = [{'id': n, 'file_name': f'{n:04}.png', 'height': HEIGHT, 'width': WIDTH} for n in (9, 5, 3, 12)]
    return {'images': images, 'annotations': annotations(split), 'categories': list(CATEGORIES)}


def pixels(split, number):
    return np.random.default_rng((len(split), number)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def files(layout='coco', train=None, val=None):
    """{path: bytes} of a whole folder; `train` and `val` stand for the content of the json files."""
    json_path, image_path = {
        'coco': ('annotations/instances_{split}2017.json', '{split}2017/{name}'),
        'images in a folder': ('annotations/instances_{split}.json', 'images/{split}/{name}'),
        'simple': ('{split}.json', '{split}/{name}'),
        'one folder': ('{split}.json', 'images/{name}'),
        'beside': ('{split}.json', '{name}'),
    }[layout]
    made = {}
    for split, changed in (('train', train), ('val', val)):
        entries = content(split) if changed is None else changed
        made[json_path.format(split=split)] = json.dumps(entries).encode()
        for number in (9, 5, 3, 12):
            which = 'train' if layout in ('one folder', 'beside') else split
            made[image_path.format(split=split, name=f'{number:04}.png')] = png(pixels(which, number))
    return made
