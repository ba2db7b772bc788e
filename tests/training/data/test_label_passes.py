"""Batches of labelled images depend on seed, epoch and position alone, and a test shows every pixel once."""

import numpy as np
import pytest

from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task
from tests.training.data.images import write_folder
from tests.training.data.labelled import COUNTS, arrays, files
from tests.training.data.test_passes import joined, same

AUGMENTED = {'crop_size': (8, 10), 'flip': 0.5, 'color_jitter': 0.3, 'reader_threads': 2}
DRAWN = {'data': 'shapes', 'image_size': 24, 'train_examples': 13, 'test_examples': 7}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('labelled'), files())


@pytest.fixture(params=['shapes', 'folder'])
def task(request, folder):
    return made(**(DRAWN if request.param == 'shapes' else {'data': str(folder)}))


def made(**settings):
    return create_task(Settings(task='segment').updated(model='dmnet_resnet8', **(AUGMENTED | settings)))


def test_a_training_batch_has_the_shapes_and_dtypes_of_the_task(task):
    batches = list(task.batches('train', 3))
    assert len(batches) == task.steps_per_epoch(3) == task.source.size('train') // 3
    kinds = {name: (array.shape, array.dtype.name) for name, array in batches[0].items()}
    assert kinds == {'image': ((3, 8, 10, 3), 'uint8'), 'label': ((3, 8, 10), 'int32'), 'mask': ((3,), 'float32')}
    assert {name: (array.shape[1:], array.dtype) for name, array in task.example().items()} == {
        name: (array.shape[1:], array.dtype) for name, array in batches[0].items()
    }


@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_together_read_what_one_reads(hosts, task):
    rows = np.arange(4).reshape(hosts, -1)
    same(task.batches('train', 4, seed=3, epoch=2), joined([task.batches('train', 4, 3, 2, rows=r) for r in rows]))
    same(task.batches('test', 4), joined([task.batches('test', 4, rows=part) for part in rows]))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_start_gives_the_tail_of_the_pass(split, task):
    whole = list(task.batches(split, 2, seed=1, epoch=1))
    for start in range(1, len(whole)):
        same(whole[start:], task.batches(split, 2, seed=1, epoch=1, start=start))
    assert list(task.batches(split, 2, start=len(whole))) == []


def test_rows_are_what_was_asked_for_in_that_order(task):
    chosen = [{name: array[[2, 0]] for name, array in batch.items()} for batch in task.batches('train', 3)]
    same(chosen, task.batches('train', 3, rows=np.array([2, 0])))


def test_another_epoch_or_seed_is_another_pass_and_the_test_is_the_same(task):
    def pixels(split, seed, epoch):
        return np.concatenate([batch['image'] for batch in task.batches(split, 3, seed, epoch)])

    for other in ((0, 1), (1, 0)):
        assert not np.array_equal(pixels('train', 0, 0), pixels('train', *other))
        np.testing.assert_array_equal(pixels('test', 0, 0), pixels('test', *other))
    np.testing.assert_array_equal(pixels('train', 0, 0), pixels('train', 0, 0))


def test_threads_do_not_matter(folder):
    one, four = (made(data=str(folder), reader_threads=threads) for threads in (1, 4))
    same(one.batches('train', 3), four.batches('train', 3))


@pytest.mark.parametrize('batch_size', [1, 2, 3, 4])
def test_every_pixel_of_the_test_images_counts_once(batch_size, folder):
    """Images of three sizes, filled up to 14 x 14 pixels; nothing that is filled in has a class."""
    batches = list(made(data=str(folder)).batches('test', batch_size))
    assert {batch['image'].shape for batch in batches} == {(batch_size, 14, 14, 3)}
    images, labels, mask = (np.concatenate([batch[name] for batch in batches]) for name in ('image', 'label', 'mask'))
    assert mask.tolist() == [1.0] * 3 + [0.0] * (len(mask) - 3)
    for number in range(COUNTS['val']):
        pixels, expected = arrays('val', number)
        height, width = expected.shape
        np.testing.assert_array_equal(images[number, :height, :width], pixels)
        np.testing.assert_array_equal(labels[number, :height, :width], expected)
        assert (labels[number, height:] == 255).all() and (labels[number, :, width:] == 255).all()
    assert (labels[3:] == 255).all()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'split': 'val'}, r"split must be one of \['test', 'train'\], got 'val'"),
        ({'batch_size': 14}, r'batch_size must be at most the 13 training images, got 14'),
        ({'start': 4}, r'start must be from 0 to 3, the batches of a pass, got 4'),
        ({'rows': [3, 4]}, r'rows must be from 0 to 3, got 3 to 4'),
    ],
)
def test_mistakes_are_named_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**DRAWN).batches(**({'split': 'train', 'batch_size': 4} | arguments))


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        ({'data': 'nowhere'}, FileNotFoundError, r'data: there is no folder nowhere; expected shapes, or a folder'),
        ({'crop': 'padded', 'mixup': 0.2}, ValueError, r"labelled pixels .* only, got crop='padded', mixup=0.2"),
        ({'window_stride': (9, 9)}, ValueError, r'window_stride must be at most the window, \(8, 10\), .* \(9, 9\)'),
    ],
)
def test_settings_that_do_not_fit(settings, error, message):
    with pytest.raises(error, match=message):
        made(**(DRAWN | settings))
