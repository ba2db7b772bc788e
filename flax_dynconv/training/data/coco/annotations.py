"""A json file of COCO's format: read, and checked entry by entry."""

import json
import math
from typing import NamedTuple

from flax_dynconv.training.data.coco.outlines import outline, without_extent

LISTS = ('images', 'annotations', 'categories')


class Annotations(NamedTuple):
    """What a file holds. In `empty` are the ids of annotations without an extent, in `faults` what was left out."""

    images: tuple[dict, ...]  # by id: id, file_name, height, width
    by_image: dict[int, list]  # annotations of each image that has any
    categories: dict[int, str]  # by id
    empty: frozenset
    faults: tuple[str, ...]


def read_annotations(path, skip_empty=False, boxes=False):
    """The `Annotations` of the json file `path`; with `boxes` the outline of an object that has none is its box.

    Raises ValueError that names the file, and the id of the image, annotation or category, for what is no JSON, what
    is missing or of another type, ids that occur twice, an image or category that is not there, run lengths of
    another size than the image; and, but with `skip_empty`, for polygons, masks and boxes without an extent.
    """
    content = _content(path)
    categories = {entry['id']: _text(path, 'category', entry, 'name') for entry in _by_id(path, content, 'categories')}
    if not categories or len(set(categories.values())) < len(categories):
        raise ValueError(f'{path}: categories must have names, each its own, got {sorted(categories.values())}')
    images = tuple(_image(path, entry) for entry in _by_id(path, content, 'images'))
    if not images:
        raise ValueError(f'{path}: images must not be empty')
    sizes = {image['id']: (image['height'], image['width']) for image in images}
    by_image, empty, faults = {}, set(), []
    for entry in _by_id(path, content, 'annotations'):
        try:
            made, fault, extent = _annotation(_boxed(entry) if boxes else entry, sizes, categories)
            if fault and not skip_empty:
                raise ValueError(f'{fault}; skip_empty leaves out what has no extent')
        except (ValueError, OverflowError) as error:
            raise ValueError(f'{path}: annotation {entry["id"]}: {error}') from error
        if fault:
            faults.append(f'annotation {entry["id"]}: {fault}')
        if not extent:
            empty.add(entry['id'])
        by_image.setdefault(made['image_id'], []).append(made)
    return Annotations(images, by_image, categories, frozenset(empty), tuple(faults))


def _content(path):
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} must be JSON: {error}') from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in LISTS):
        raise ValueError(f'{path} must be a JSON object with the lists {", ".join(LISTS)}')
    return content


def _by_id(path, content, name):
    """The entries of a list, sorted by their ids."""
    seen = set()
    for place, entry in enumerate(content[name]):
        if not isinstance(entry, dict) or not isinstance(entry.get('id'), int):
            raise ValueError(f'{path}: {name}[{place}] must be an object with a whole number id')
        if entry['id'] in seen:
            raise ValueError(f'{path}: ids of {name} must occur once, got {entry["id"]} twice')
        seen.add(entry['id'])
    return sorted(content[name], key=lambda entry: entry['id'])


def _text(path, kind, entry, name):
    if not isinstance(entry.get(name), str) or not entry[name]:
        raise ValueError(f'{path}: {kind} {entry["id"]}: {name} must be a text, got {entry.get(name)!r}')
    return entry[name]


def _image(path, entry):
    made = {'id': entry['id'], 'file_name': _text(path, 'image', entry, 'file_name')}
    for name in ('height', 'width'):
        if not isinstance(entry.get(name), int) or entry[name] < 1:
            raise ValueError(f'{path}: image {entry["id"]}: {name} must be pixels >= 1, got {entry.get(name)!r}')
        made[name] = entry[name]
    return made


def _annotation(entry, sizes, categories):
    """The annotation with all entries, what has no extent in words, and whether there is something with an extent."""
    for name, known, kind in (('image_id', sizes, 'images'), ('category_id', categories, 'categories')):
        if not isinstance(entry.get(name), int) or entry[name] not in known:
            raise ValueError(f'{name} must be an id among the {kind} of the file, got {entry.get(name)!r}')
    crowd, size = entry.get('iscrowd', 0), sizes[entry['image_id']]
    if crowd not in (0, 1):
        raise ValueError(f'iscrowd must be 0 or 1, got {crowd!r}')
    fault = without_extent(entry.get('segmentation'), size)
    area, box = entry.get('area'), entry.get('bbox')
    found = outline(entry['segmentation'], size) if fault or area is None else True
    if area is None:
        area = float(found.at(*size).sum()) if found else 0.0
    if not _is_number(area) or area < 0:
        raise ValueError(f'area must be a number of pixels, got {area!r}')
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f'bbox must be four finite numbers, x, y, width and height, got {box!r}')
    box_fault = _box_fault(box, size)
    made = {name: entry[name] for name in ('id', 'image_id', 'category_id', 'segmentation', 'bbox')}
    return made | {'area': area, 'iscrowd': int(crowd)}, fault or box_fault, bool(found) and not box_fault


def _boxed(entry):
    """With the box as its polygon where there is no segmentation, None or an empty list."""
    box = entry.get('bbox')
    if entry.get('segmentation') or not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return entry
    x, y, width, height = box
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return entry | {'segmentation': [corners]}


def _box_fault(box, size):
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return f'bbox must have a width and a height > 0, got {box}'
    if min(x + width, size[1]) <= max(x, 0) or min(y + height, size[0]) <= max(y, 0):
        return f'bbox must have a part in the image of {size[1]} x {size[0]} pixels, got {box}'
    return ''


def _is_number(value):
    return isinstance(value, int | float) and math.isfinite(value)
