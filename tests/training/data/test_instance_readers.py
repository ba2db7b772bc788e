"""Batches of images with objects depend on seed, epoch and position alone, and a test has every image once."""

import numpy as np
import pytest

from flax_dynconv.training.augmentation.instances import InstanceEvaluation, InstanceTraining
from flax_dynconv.training.data import passes, pipeline
from flax_dynconv.training.data.coco import Coco
from flax_dynconv.training.data.instance_readers import InstanceEvaluationReader, InstanceTrainingReader
from flax_dynconv.training.data.instance_shapes import InstanceShapes
from tests.training.data.coco_files import files
from tests.training.data.images import write_folder
from tests.training.passes_contract import same

PLACE = {'canvas': (64, 64), 'longest': 60, 'interpolation': 'bilinear', 'fill': (1, 2, 3), 'max_instances': 4}
TRAINING = InstanceTraining(shorter_sides=(30, 40), flip=0.5, color_jitter=0.2, **PLACE)
EVALUATION = InstanceEvaluation(shorter=40, **PLACE)


@pytest.fixture(scope='module', params=['drawn', 'coco'])
def source(request, tmp_path_factory):
    if request.param == 'drawn':
        return InstanceShapes(48, 6, 5)
    return Coco(write_folder(tmp_path_factory.mktemp('coco'), files()), keep_empty=True)


def batches(source, split, batch_size, seed=0, epoch=0, start=0, rows=None, threads=2):
    size = source.size(split)
    steps = size // batch_size if split == 'train' else -(-size // batch_size)
    rows = passes.check_pass(steps, batch_size, start, rows)
    part = passes.Pass(steps, batch_size, start, rows, pipeline.part_size(len(rows), threads))
    if split == 'train':
        reader = InstanceTrainingReader(part, source, passes.order(size, seed, epoch), seed, epoch, TRAINING)
    else:
        reader = InstanceEvaluationReader(part, source, split, EVALUATION)
    return pipeline.batches(reader, threads, 0, lambda bad: None)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_start_gives_the_tail_of_the_pass(split, source):
    whole = list(batches(source, split, 2, seed=1, epoch=1))
    same(whole[1:], batches(source, split, 2, seed=1, epoch=1, start=1))
    same(whole, batches(source, split, 2, seed=1, epoch=1, threads=1))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_hosts_together_read_what_one_reads(split, source):
    parts = [list(batches(source, split, 4, 3, 2, rows=np.array(rows))) for rows in ([2, 3], [0, 1])]
    joined = [{name: np.concatenate([b[name], a[name]]) for name in a} for a, b in zip(*parts, strict=True)]
    same(batches(source, split, 4, 3, 2), joined)


def test_another_epoch_or_seed_is_another_pass_and_the_test_is_the_same(source):
    def pixels(split, seed, epoch):
        return np.concatenate([batch['image'] for batch in batches(source, split, 2, seed, epoch)])

    for other in ((0, 1), (1, 0)):
        assert not np.array_equal(pixels('train', 0, 0), pixels('train', *other))
        np.testing.assert_array_equal(pixels('test', 0, 0), pixels('test', *other))


@pytest.mark.parametrize('batch_size', [1, 3, 8])
def test_every_test_image_is_there_once_and_the_rest_is_blank(batch_size, source):
    found = list(batches(source, 'test', batch_size))
    assert {len(array) for batch in found for array in batch.values()} == {batch_size}
    whole = {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}
    size = source.size('test')
    assert whole['mask'].tolist() == [1.0] * size + [0.0] * (len(whole['mask']) - size)
    assert whole['index'].tolist() == list(range(size)) + [-1] * (len(whole['mask']) - size)
    assert (whole['mask'].dtype, whole['index'].dtype) == (np.float32, np.int32)
    for name in ('image', 'valid', 'masks', 'semantic', 'boxes'):
        assert not whole[name][size:].any()
    for index in range(size):
        image, instances, _ = source.example('test', index, None)
        arrays = EVALUATION(image, instances)
        for name, array in arrays.items():
            np.testing.assert_array_equal(whole[name][index], array, err_msg=name)


def test_a_training_row_says_which_image_it_is(tmp_path):
    source = Coco(write_folder(tmp_path, files()))
    (batch,) = batches(source, 'train', 2, seed=5)
    assert sorted(batch['index'].tolist()) == [0, 1] and batch['mask'].tolist() == [1.0, 1.0]
    expected = {0: [0], 1: [2, 0, 1]}  # of the first image the crowd is left out
    for index, classes, valid in zip(batch['index'], batch['classes'], batch['valid'], strict=True):
        assert classes[valid].tolist() == expected[int(index)]
