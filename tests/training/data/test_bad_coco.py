"""What is wrong in a folder of COCO's format names its file, and the entry."""

import numpy as np
import pytest

from flax_dynconv.training.data.coco import Coco
from flax_dynconv.training.data.source import UnreadableImage
from tests.training.data.coco_files import HEIGHT, SQUARE, WIDTH, blob, compressed, content, files, uncompressed
from tests.training.data.images import write_folder
from tests.training.data.labelled import png

FILE = r'annotations/instances_train2017\.json'
SMALL = compressed(blob(0, (HEIGHT, WIDTH - 1)))
SHORT = {'size': [HEIGHT, WIDTH], 'counts': [4, 5, 6]}
OFF = compressed(np.zeros((HEIGHT, WIDTH), bool))
CUT = compressed(blob()) | {'counts': compressed(blob())['counts'][:-2] + 'o'}

# Of annotation 104, the first one: what is changed, and what is said.
ENTRIES = {
    'unknown category': ({'category_id': 5}, r'category_id must be an id among the categories of the file, got 5'),
    'no category': ({'category_id': None}, r'category_id must be an id among the categories of the file, got None'),
    'unknown image': ({'image_id': 77}, r'image_id must be an id among the images of the file, got 77'),
    'two points': (
        {'segmentation': [[1, 2, 3, 4]]},
        r'three points that are not on a line, got \[1, 2, 3, 4\]; skip',
    ),
    'a line': (
        {'segmentation': [[0, 0, 1, 2, 2, 4]]},
        r'points that are not on a line, got \[0, 0, 1, 2, 2, 4\]',
    ),
    'a bad part': ({'segmentation': [*SQUARE, [1, 1, 1, 1, 1, 1]]}, r'not on a line, got \[1, 1, 1, 1, 1, 1\]'),
    'no polygon': ({'segmentation': []}, r'not on a line, got no polygon'),
    'half a point': ({'segmentation': [[1, 2, 3, 4, 5, 6, 7]]}, r'finite numbers x, y, x, y, \.\., got \[1, 2, 3'),
    'a text': ({'segmentation': [['1', 2, 3, 4, 5, 6]]}, r"finite numbers x, y, x, y, \.\., got \['1', 2"),
    'not finite': ({'segmentation': [[1, 2, 3, 4, 5, float('nan')]]}, r'finite numbers .* got \[1, 2, 3, 4, 5, nan'),
    'numbers': ({'segmentation': [1, 2, 3, 4, 5, 6]}, r'finite numbers x, y, x, y, \.\., got 1'),
    'far': ({'segmentation': [[1, 2, 3, 4e6, 5, 6]]}, r'in the image of 40 x 30 pixels or near it, got .* to 4000000'),
    'no segmentation': ({'segmentation': None}, r'list of polygons or an object with size and counts, got NoneType'),
    'another size': (
        {'segmentation': SMALL},
        r'size of the image, \[height, width\] = \[30, 40\], got \[30, 39\]',
    ),
    'no size': ({'segmentation': {'counts': [1200]}}, r'= \[30, 40\], got None'),
    'no counts': ({'segmentation': {'size': [30, 40]}}, r'counts must be whole numbers >= 0, or their compressed text'),
    'too few': ({'segmentation': SHORT}, r'must add up to the 1200 pixels of 30 x 40, got 15'),
    'negative': ({'segmentation': SHORT | {'counts': [1300, -100]}}, r'counts must be whole numbers >= 0'),
    'no text': ({'segmentation': SHORT | {'counts': '4 5'}}, r"counts has the character ' ', which no compressed"),
    'text cut off': ({'segmentation': CUT}, r'counts ends within a number'),
    'text too short': ({'segmentation': SHORT | {'counts': '22'}}, r'must add up to the 1200 pixels of 30 x 40, got 4'),
    'nothing on': ({'segmentation': OFF}, r'a mask must have a pixel, got run lengths of none; skip_empty'),
    'no extent': ({'bbox': [3, 4, 0, 5]}, r'bbox must have a width and a height > 0, got \[3, 4, 0, 5\]; skip_empty'),
    'outside': ({'bbox': [40, 4, 3, 5]}, r'bbox must have a part in the image of 40 x 30 pixels, got \[40, 4, 3, 5\]'),
    'no box': ({'bbox': None}, r'bbox must be four finite numbers, x, y, width and height, got None'),
    'infinite box': ({'bbox': [3, 4, float('inf'), 5]}, r'bbox must be four finite numbers, .* got \[3, 4, inf, 5\]'),
    'three numbers': ({'bbox': [3, 4, 5]}, r'bbox must be four finite numbers, .* got \[3, 4, 5\]'),
    'beyond numbers': ({'area': 10**400}, r'int too large to convert to float'),
    'area': ({'area': -1}, r'area must be a number of pixels, got -1'),
    'crowd': ({'iscrowd': 2}, r'iscrowd must be 0 or 1, got 2'),
}


@pytest.mark.parametrize('case', ENTRIES)
def test_an_annotation_is_named(case, tmp_path):
    changes, message = ENTRIES[case]
    changed = content()
    changed['annotations'][0] |= changes
    with pytest.raises(ValueError, match=rf'{FILE}: annotation 104: .*{message}'):
        Coco(write_folder(tmp_path, files(train=changed)))


@pytest.mark.parametrize('case', ['another size', 'unknown category', 'half a point', 'no box'])
def test_skipping_what_has_no_extent_skips_nothing_else(case, tmp_path):
    changed = content()
    changed['annotations'][0] |= ENTRIES[case][0]
    with pytest.raises(ValueError, match=rf'{FILE}: annotation 104: .*{ENTRIES[case][1]}'):
        Coco(write_folder(tmp_path, files(train=changed)), skip_empty=True)


def _without(name):
    return {key: value for key, value in content().items() if key != name}


def _with(kind, place, **changes):
    changed = content()
    changed[kind][place] = changed[kind][place] | changes
    return changed


WHOLE = {
    'no categories': (_without('categories'), r'must be a JSON object with the lists images, annotations, categories'),
    'a list': ([], r'must be a JSON object with the lists images, annotations, categories'),
    'no image': (content() | {'images': []}, r'images must not be empty'),
    'no category': (content() | {'categories': []}, r'categories must have names, each its own, got \[\]'),
    'a name twice': (_with('categories', 0, name='dog'), r"each its own, got \['bird', 'dog', 'dog'\]"),
    'no name': (_with('categories', 0, name=''), r"category 7: name must be a text, got ''"),
    'annotation twice': (_with('annotations', 0, id=101), r'ids of annotations must occur once, got 101 twice'),
    'image twice': (_with('images', 0, id=5), r'ids of images must occur once, got 5 twice'),
    'category twice': (_with('categories', 0, id=2), r'ids of categories must occur once, got 2 twice'),
    'no id': (_with('annotations', 2, id=None), r'annotations\[2\] must be an object with a whole number id'),
    'no file': (_with('images', 1, file_name=None), r'image 5: file_name must be a text, got None'),
    'no height': (_with('images', 1, height=0), r'image 5: height must be pixels >= 1, got 0'),
    'a broken width': (_with('images', 1, width=3.5), r'image 5: width must be pixels >= 1, got 3.5'),
    'crowds alone': (
        content() | {'annotations': [entry | {'iscrowd': 1} for entry in content()['annotations']]},
        r'must have an image with an object that is no crowd, got none',
    ),
}


@pytest.mark.parametrize('case', WHOLE)
def test_what_is_wrong_with_a_file_is_said(case, tmp_path):
    changed, message = WHOLE[case]
    with pytest.raises(ValueError, match=FILE + '.*' + message):
        Coco(write_folder(tmp_path, files(train=changed)))


@pytest.mark.parametrize('data', [b'{"images": [', b'\xff\xfe\xff'])
def test_what_is_no_json_is_said(data, tmp_path):
    with pytest.raises(ValueError, match=FILE + r' must be JSON: '):
        Coco(write_folder(tmp_path, files() | {'annotations/instances_train2017.json': data}))


def test_categories_are_the_same_in_both_files(tmp_path):
    changed = content('val')
    changed['categories'] = [*changed['categories'][:2], {'id': 90, 'name': 'fish'}]
    with pytest.raises(ValueError, match=r"must be the same, only one of them has \[\(90, 'bird'\), \(90, 'fish'\)\]"):
        Coco(write_folder(tmp_path, files(val=changed)))


def test_a_test_split_without_objects_has_nothing_to_measure(tmp_path):
    message = r'instances_val2017.json must have an image with an object that is no crowd, got none'
    for found in ([], [each for each in content('val')['annotations'] if each['iscrowd']]):
        folder = write_folder(tmp_path, files(val=content('val') | {'annotations': found}))
        for keep_empty in (False, True):
            with pytest.raises(ValueError, match=message):
                Coco(folder, keep_empty=keep_empty)


def test_a_missing_image_is_named(tmp_path):
    made = files()
    del made['val2017/0009.png']
    with pytest.raises(FileNotFoundError, match=r'val2017.json: image 9: there is no file .*val2017/0009.png'):
        Coco(write_folder(tmp_path, made))


def test_missing_images_are_said_with_where_they_were_looked_for(tmp_path):
    made = {name: data for name, data in files().items() if not name.startswith('val2017')}
    with pytest.raises(FileNotFoundError, match=r'2017.json: its first image 0003.png is in none of .*images/val2017,'):
        Coco(write_folder(tmp_path, made))


def test_missing_files_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'there is no folder .*nowhere'):
        Coco(tmp_path / 'nowhere')
    folder = write_folder(tmp_path, {'train.json': b'', 'other.json': b''})
    with pytest.raises(FileNotFoundError, match=r'val\*.json or val.json or .*, got .*other.json.*train.json'):
        Coco(folder)


def test_two_files_of_a_split_are_refused(tmp_path):
    made = files() | {'annotations/instances_val2014.json': b''}
    with pytest.raises(ValueError, match=r'one file of val, got .*instances_val2014.json.*instances_val2017.json'):
        Coco(write_folder(tmp_path, made))


@pytest.mark.parametrize(
    ('data', 'error', 'message'),
    [
        (b'no', UnreadableImage, r'train2017/0009.png cannot be read: PIL knows no'),
        (
            png(np.zeros((40, 30, 3), np.uint8)),
            ValueError,
            r'0009.png must have 40 x 30 pixels, as .*train2017.json says of image 9, got 30 x 40',
        ),
    ],
    ids=['no image', 'another size'],
)
def test_what_is_wrong_with_an_image_is_said_when_it_is_read(data, error, message, tmp_path):
    source = Coco(write_folder(tmp_path, files() | {'train2017/0009.png': data}))
    with pytest.raises(error, match=message):
        source.example('train', 1, None)


def test_run_lengths_of_the_test_split_are_checked_too(tmp_path):
    changed = content('val')
    changed['annotations'][3]['segmentation'] = uncompressed(blob(0, (WIDTH, HEIGHT)))
    with pytest.raises(ValueError, match=r'instances_val2017.json: annotation 1003: .* got \[40, 30\]'):
        Coco(write_folder(tmp_path, files(val=changed)))
