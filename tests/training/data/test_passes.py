"""What is in a batch depends on seed, epoch and position: not on hosts, threads, processes or where a pass starts."""

import gc
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from flax_dynconv.models.preprocessing import Preprocessing
from flax_dynconv.training.data import passes, pipeline
from flax_dynconv.training.data.zip_archive import ZipArchive
from flax_dynconv.training.image_classification import ImageClassification
from flax_dynconv.training.settings import Settings
from tests.training.data.images import Memory, files, write_zip
from tests.training.passes_contract import same

ROOT = pathlib.Path(__file__).resolve().parents[3]
FACTS = Preprocessing(8, 9, 'bilinear', (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), source='test')
SOURCE = Memory(files())
AUGMENTED = {'crop': 'random-resized', 'flip': 0.5, 'color_jitter': 0.3, 'erasing': 0.5}
MIXED = AUGMENTED | {'mixup': 0.2, 'cutmix': 1.0}


def task(source=SOURCE, **settings):
    return ImageClassification(source, Settings().updated(**(AUGMENTED | settings)), FACTS)


def joined(parts):
    """Batches of several hosts, put together row by row."""
    for batches in zip(*parts, strict=True):
        yield {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_a_training_batch_has_the_shapes_and_dtypes_of_the_task():
    batches = list(task().batches('train', 4))
    assert len(batches) == task().steps_per_epoch(4) == 3
    kinds = {name: (array.shape, array.dtype.name) for name, array in batches[0].items()}
    assert kinds == {'image': ((4, 8, 8, 3), 'uint8'), 'label': ((4,), 'int32'), 'mask': ((4,), 'float32')}
    mixed = next(task(**MIXED).batches('train', 4))
    kinds = {name: (array.shape, array.dtype.name) for name, array in mixed.items()}
    assert kinds['other_label'] == ((4,), 'int32')
    assert kinds['share'] == ((4,), 'float32')
    assert kinds['image'] == ((4, 8, 8, 3), 'uint8')
    example = task().example()
    assert {name: (array.shape[1:], array.dtype) for name, array in example.items()} == {
        name: (array.shape[1:], array.dtype) for name, array in batches[0].items()
    }


@pytest.mark.parametrize('hosts', [2, 4])
@pytest.mark.parametrize('settings', [AUGMENTED, MIXED], ids=['augmented', 'mixed'])
def test_hosts_together_read_what_one_reads(hosts, settings):
    whole = list(task(**settings).batches('train', 8, seed=3, epoch=2))
    rows = np.arange(8).reshape(hosts, -1)
    same(whole, joined([task(**settings).batches('train', 8, 3, 2, rows=part) for part in rows]))


@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_together_evaluate_what_one_evaluates(hosts):
    rows = np.arange(4).reshape(hosts, -1)
    same(task().batches('test', 4), joined([task().batches('test', 4, rows=part) for part in rows]))


def test_rows_are_what_was_asked_for_in_that_order():
    whole = list(task().batches('train', 4))
    chosen = [{name: array[[3, 1]] for name, array in batch.items()} for batch in whole]
    same(chosen, task().batches('train', 4, rows=np.array([3, 1])))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_start_gives_the_tail_of_the_pass(split):
    whole = list(task(**MIXED).batches(split, 4, seed=1, epoch=1))
    for start in range(1, len(whole)):
        same(whole[start:], task(**MIXED).batches(split, 4, seed=1, epoch=1, start=start))
    assert list(task().batches(split, 4, start=len(whole))) == []


def test_what_comes_before_the_start_is_not_read():
    class Counting(Memory):
        reads = 0

        def read(self, split, index):
            Counting.reads += 1
            return super().read(split, index)

    list(task(Counting(files())).batches('train', 2, start=5))
    assert Counting.reads == 2


def test_another_epoch_or_seed_is_another_pass():
    def pixels(seed, epoch):
        return np.concatenate([batch['image'] for batch in task().batches('train', 4, seed, epoch)])

    first = pixels(0, 0)
    np.testing.assert_array_equal(first, pixels(0, 0))
    for seed, epoch in ((0, 1), (1, 0)):
        assert not np.array_equal(first, pixels(seed, epoch))
    # Not only the order: the same image, at another position, is augmented otherwise.
    assert not {image.tobytes() for image in first} & {image.tobytes() for image in pixels(0, 1)}


def test_threads_do_not_matter():
    same(task(reader_threads=1, **MIXED).batches('train', 6), task(reader_threads=4, **MIXED).batches('train', 6))


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_processes_do_not_matter(processes, tmp_path):
    source = ZipArchive(write_zip(tmp_path / 'images.zip', files()))
    other = task(source, reader_processes=processes, reader_threads=2, **MIXED)
    same(task(**MIXED).batches('train', 6), other.batches('train', 6))
    same(task().batches('test', 3), other.batches('test', 3))


@pytest.mark.slow
def test_processes_end_with_an_abandoned_pass(tmp_path):
    source = ZipArchive(write_zip(tmp_path / 'images.zip', files()))
    batches = task(source, reader_processes=2).batches('train', 2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_signals_are_left_to_the_training_process(tmp_path):
    """A terminal and a scheduler send them to all processes of a run."""
    source = ZipArchive(write_zip(tmp_path / 'images.zip', files()))
    batches = task(source, reader_processes=2).batches('train', 2)
    first = next(batches)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGINT)
    same(task().batches('train', 2), [first, *batches])
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


KILLED = """
import multiprocessing, os, sys
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task

if __name__ == '__main__':
    settings = Settings().updated(data=sys.argv[1], model='resnet20', reader_processes=2)
    batches = create_task(settings).batches('train', 2)
    next(batches)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_processes_end_with_one_that_is_killed(tmp_path):
    data, script = write_zip(tmp_path / 'images.zip', files()), tmp_path / 'killed.py'
    script.write_text(KILLED)
    with (tmp_path / 'out').open('w+') as out:  # A pipe would be open as long as the processes are.
        run = subprocess.run([sys.executable, script, data], stdout=out, cwd=ROOT, env=os.environ | {'PYTHONPATH': '.'})
        out.seek(0)
        children = [int(pid) for pid in out.read().split()]
    assert run.returncode == -9 and len(children) == 2
    until = time.monotonic() + 30
    while any(map(alive, children)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, children))


def alive(pid):
    stat = pathlib.Path(f'/proc/{pid}/stat')
    return stat.exists() and stat.read_text().rpartition(')')[2].split()[0] != 'Z'


@pytest.mark.parametrize('batch_size', [1, 2, 3, 7, 8, 20])
def test_every_test_image_counts_once(batch_size):
    batches = list(task().batches('test', batch_size))
    assert {batch['image'].shape for batch in batches} == {(batch_size, 8, 8, 3)}
    mask = np.concatenate([batch['mask'] for batch in batches])
    assert mask.tolist() == [1.0] * 7 + [0.0] * (len(mask) - 7)
    assert len(mask) - 7 < batch_size
    labels = np.concatenate([batch['label'] for batch in batches])[mask > 0]
    assert labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    images = np.concatenate([batch['image'] for batch in batches])[mask > 0]
    assert len({image.tobytes() for image in images}) == 7


def test_an_epoch_shows_every_image_once():
    plain = task(crop='none', flip=0.0, color_jitter=0.0, erasing=0.0)
    seen = np.concatenate([batch['image'] for batch in plain.batches('train', 1)])
    assert len(seen) == len({image.tobytes() for image in seen}) == 13


def test_orders_are_permutations_and_streams_are_apart():
    orders = [passes.order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    generators = [passes.example_generator(0, 0, p) for p in range(4)]
    generators += [passes.pair_generator(0, 0, p) for p in (0, 2)]
    generators += [passes.example_generator(*key) for key in ((0, 1, 0), (1, 0, 0), (1, 1, 0))]
    assert len({generator.random() for generator in generators}) == 9


@pytest.mark.parametrize('rows', [1, 2, 3, 15, 16, 17, 100, 256])
@pytest.mark.parametrize('workers', [1, 4, 64])
def test_pieces_cover_the_rows(rows, workers):
    size = pipeline.part_size(rows, workers)
    assert size >= 2 and size % 2 == 0
    part = passes.Pass(steps=3, batch_size=1000, start=1, rows=np.arange(rows), part=size)
    found = np.concatenate([part.positions(number) for number in range(len(part))])
    assert found.tolist() == [1000 + row for row in range(rows)] + [2000 + row for row in range(rows)]


def readers():
    return [thread for thread in threading.enumerate() if 'grain-prefetch' in thread.name]


@pytest.mark.parametrize('leave', [lambda batches: batches.close(), lambda batches: None], ids=['closed', 'dropped'])
def test_threads_end_with_an_abandoned_pass(leave):
    before = set(readers())
    batches = task().batches('train', 2)
    next(batches)
    assert set(readers()) - before
    leave(batches)
    del batches
    gc.collect()
    until = time.monotonic() + 10
    while set(readers()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(readers()) - before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'split': 'val'}, r"split must be one of \['test', 'train'\], got 'val'"),
        ({'batch_size': 14}, r'batch_size must be at most the 13 training images, got 14'),
        ({'start': 4}, r'start must be from 0 to 3, the batches of a pass, got 4'),
        ({'start': -1}, r'start must be from 0 to 3, the batches of a pass, got -1'),
        ({'rows': [3, 4]}, r'rows must be from 0 to 3, got 3 to 4'),
        ({'rows': []}, r'rows must be positions in a batch, at least one, got'),
        ({'rows': [0.5]}, r'rows must be positions in a batch, at least one, got'),
        ({'split': 'test', 'start': 3}, r'start must be from 0 to 2, the batches of a pass, got 3'),
    ],
)
def test_mistakes_are_named_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        task().batches(**({'split': 'train', 'batch_size': 4} | arguments))


@pytest.mark.parametrize('rows', [[0], [1, 2], [0, 2], [1, 0], [0, 1, 2]])
def test_rows_that_split_a_pair_are_refused(rows):
    with pytest.raises(ValueError, match=r'rows must hold the pairs \(0, 1\), \(2, 3\), ... whole, .* got \['):
        task(**MIXED).batches('train', 4, rows=rows)
    task(**MIXED).batches('test', 4, rows=rows)
    with pytest.raises(ValueError, match=r'batch_size must be even, as pairs of images are mixed, got 5'):
        task(**MIXED).batches('train', 5)
