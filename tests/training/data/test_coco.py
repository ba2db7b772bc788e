"""Folders in COCO's format: layouts, order, outlines, truth."""

import pickle

import numpy as np
import pytest
from pycocotools.coco import COCO

from flax_dynconv.training.data import run_lengths
from flax_dynconv.training.data.coco import Coco
from tests.training.data.coco_files import (
    HEIGHT,
    SQUARE,
    TWO_PARTS,
    WIDTH,
    annotation,
    blob,
    compressed,
    content,
    files,
    pixels,
    uncompressed,
)
from tests.training.data.images import write_folder


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return Coco(write_folder(tmp_path_factory.mktemp('coco'), files()))


@pytest.mark.parametrize('layout', ['coco', 'images in a folder', 'simple', 'one folder', 'beside'])
def test_each_layout_gives_the_same(layout, tmp_path):
    source = Coco(write_folder(tmp_path, files(layout)))
    assert source.classes == ('dog', 'cat', 'bird') and source.category_ids == (2, 7, 90)
    assert [source.image_id('train', i) for i in range(source.size('train'))] == [3, 9]
    assert [source.image_id('test', i) for i in range(source.size('test'))] == [3, 5, 9, 12]
    image, instances, name = source.example('train', 1, None)
    np.testing.assert_array_equal(image, pixels('train', 9))
    assert name.endswith('0009.png') and [instance.label for instance in instances] == [2, 0, 1]
    assert source.dimensions('test') == {(HEIGHT, WIDTH)} and source.image_size('train', 0) == (HEIGHT, WIDTH)


def test_test_json_is_a_split_too(tmp_path):
    made = files('simple')
    made['test.json'] = made.pop('val.json')
    assert (
        Coco(write_folder(tmp_path, {n.replace('val/', 'test/'): data for n, data in made.items()})).size('test') == 4
    )


def test_images_without_objects_stay_where_they_are_asked_for(tmp_path):
    source = Coco(write_folder(tmp_path, files()), keep_empty=True)
    assert [source.image_id('train', i) for i in range(source.size('train'))] == [3, 5, 9, 12]
    assert source.example('train', 1, None)[1] == []


def test_outlines_are_those_of_pycocotools(source):
    coco = COCO()
    coco.dataset = content()
    coco.createIndex()
    for index in range(source.size('train')):
        instances = source.example('train', index, None)[1]
        found = sorted(coco.imgToAnns[source.image_id('train', index)], key=lambda a: a['id'])
        for instance, entry in zip(instances, found, strict=True):
            assert instance.mask.dtype == bool and instance.mask.any()
            np.testing.assert_array_equal(instance.mask, coco.annToMask(entry).astype(bool))
            x, y, width, height = entry['bbox']
            assert instance.box == (x, y, x + width, y + height)
            assert (instance.area, instance.crowd) == (entry['area'], bool(entry['iscrowd']))
    assert [i.crowd for i in source.example('train', 0, None)[1]] == [True, False]


def test_polygons_are_scaled_before_they_are_filled(source):
    two_parts, blob_, square = (i.outline for i in source.example('train', 1, None)[1])
    assert square.at(2 * HEIGHT, 3 * WIDTH).sum() == 6 * 100
    scaled = [[2.5 * value for value in part] for part in TWO_PARTS]
    np.testing.assert_array_equal(two_parts.at(75, 100), run_lengths.rasterised(scaled, 75, 100))
    nearest = np.repeat(np.repeat(two_parts.at(HEIGHT, WIDTH), 2, axis=0), 2, axis=1)
    assert 0 < (two_parts.at(2 * HEIGHT, 2 * WIDTH) != nearest).sum() < 80
    np.testing.assert_array_equal(blob_.at(2 * HEIGHT, 2 * WIDTH), np.repeat(np.repeat(blob(), 2, axis=0), 2, axis=1))


def test_the_truth_is_what_the_file_says(source):
    for split, name in (('test', 'val'), ('train', 'train')):
        truth, expected = source.truth(split), content(name)
        ids = {image['id'] for image in truth['images']}
        assert ids == ({3, 5, 9, 12} if split == 'test' else {3, 9})
        found = sorted((a for a in expected['annotations'] if a['image_id'] in ids), key=lambda a: a['id'])
        assert sorted(truth['annotations'], key=lambda a: a['id']) == found
        assert truth['categories'] == sorted(expected['categories'], key=lambda c: c['id'])


def test_an_id_of_0_becomes_another(tmp_path):
    changed = content('val')
    changed['annotations'][0]['id'] = 0
    truth = Coco(write_folder(tmp_path, files(val=changed))).truth('test')
    assert sorted(a['id'] for a in truth['annotations']) == [1, 1002, 1003, 1004, 1006, 1007]


def test_areas_and_crowds_may_be_missing(tmp_path):
    changed = content()
    for entry in changed['annotations']:
        entry.pop('area')
    changed['annotations'][0].pop('iscrowd')
    source = Coco(write_folder(tmp_path, files(train=changed)))
    areas = {a['id']: a['area'] for a in source.truth('train')['annotations']}
    assert areas[104] == 100 and areas[102] == blob().sum()
    assert source.example('train', 1, None)[1][2].crowd is False


@pytest.mark.parametrize('nothing', ['missing', None, []])
def test_boxes_take_the_place_of_outlines_where_they_are_asked_to(tmp_path, nothing):
    changed = content()
    for entry in changed['annotations']:
        if nothing == 'missing':
            del entry['segmentation']
        else:
            entry['segmentation'] = nothing
    folder = write_folder(tmp_path, files(train=changed))
    with pytest.raises(ValueError, match=r'instances_train2017\.json: annotation 101: '):
        Coco(folder)
    source = Coco(folder, boxes=True)
    _, instances, _ = source.example('train', 1, None)
    (square,) = (each for each in instances if each.box == (10.0, 5.0, 20.0, 15.0))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:15, 10:20] = True
    np.testing.assert_array_equal(square.mask, expected)


def test_tests_need_outlines(tmp_path):
    changed = content('val')
    changed['annotations'][0]['segmentation'] = []
    with pytest.raises(ValueError, match=r'instances_val2017\.json: annotation 1004: '):
        Coco(write_folder(tmp_path, files(val=changed)), boxes=True)


def test_a_source_can_be_pickled(source):
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.example('test', 2, None)[0], source.example('test', 2, None)[0])


@pytest.mark.parametrize('seed', range(4))
def test_run_lengths_round_trip(seed):
    mask = blob(seed, (37, 23)) ^ (np.random.default_rng(seed).random((37, 23)) < 0.1 * seed)
    found = run_lengths.encode(mask)
    assert found == compressed(mask)
    np.testing.assert_array_equal(run_lengths.decode(found), mask)
    np.testing.assert_array_equal(run_lengths.decode(uncompressed(mask)), mask)
    assert run_lengths.numbers(found['counts']) == uncompressed(mask)['counts']


@pytest.mark.parametrize('value', [False, True])
def test_run_lengths_of_large_constant_masks(value):
    mask = np.full((900, 1300), value)
    mask[3:5, 700] = not value
    found = run_lengths.encode(mask)
    assert run_lengths.numbers(found['counts']) == uncompressed(mask)['counts']
    np.testing.assert_array_equal(run_lengths.decode(found), mask)


LINE, POINTS = [[1.0, 1.0, 2.0, 2.0, 5.0, 5.0]], [[3.0, 3.0, 9.0, 9.0]]


def test_what_has_no_extent_is_left_out_with_a_warning(tmp_path):
    changed = content()
    changed['annotations'] += [
        annotation(200, 9, 2, LINE, [1, 1, 4, 4]),
        annotation(201, 9, 2, POINTS + SQUARE, [3, 3, 17, 12]),
        annotation(202, 9, 2, SQUARE, [3, 3, 0.0, 12]),
        annotation(203, 9, 2, POINTS, [3, 3, 6, 6]),
        annotation(204, 5, 2, compressed(np.zeros((HEIGHT, WIDTH), bool)), [3, 3, 6, 6]),
    ]
    folder = write_folder(tmp_path, files(train=changed))
    with pytest.warns(UserWarning, match=r'2017.json: .* left out of 5 annotations: .*annotation 200: .* and 2 more'):
        source = Coco(folder, skip_empty=True)
    assert source.size('train') == 2
    instances = source.example('train', 1, None)[1]
    assert len(instances) == 4 and instances[3].outline.parts == SQUARE
    truth = {a['id']: a['segmentation'] for a in source.truth('train')['annotations']}
    assert set(truth) == {101, 102, 103, 104, 105, 200, 201, 202}  # image 5 has no object
    assert (truth[200], truth[201]) == (LINE, SQUARE)
