"""Images that cannot be read: named and replaced in training, an error in an evaluation."""

import warnings

import numpy as np
import pytest

from flax_dynconv.training.data.source import UnreadableImage
from tests.training.data.images import Memory, files
from tests.training.data.test_passes import joined, same, task

PLAIN = {'crop': 'none', 'flip': 0.0, 'color_jitter': 0.0, 'erasing': 0.0}
FILES = files()
BROKEN = FILES | {'train/ant/1.png': FILES['train/ant/1.png'][:90], 'train/ant/2.png': b'', 'train/cow/3.png': b'no'}
REPLACED = BROKEN | {
    'train/ant/1.png': FILES['train/ant/3.png'],
    'train/ant/2.png': FILES['train/ant/3.png'],
    'train/cow/3.png': FILES['train/ant/0.png'],
}


def images_and_labels(batches):
    return sorted(
        (image.tobytes(), int(label)) for b in batches for image, label in zip(b['image'], b['label'], strict=True)
    )


@pytest.mark.filterwarnings('ignore:train/')
def test_the_next_readable_image_takes_the_place():
    broken = images_and_labels(task(Memory(BROKEN), **PLAIN).batches('train', 13))
    expected = images_and_labels(task(Memory(REPLACED), **PLAIN).batches('train', 13))
    # After the last image comes the first, with the label of its own class.
    assert [image for image, _ in broken] == [image for image, _ in expected]
    assert sum(label == 0 for _, label in broken) == 6


def test_each_is_named_and_counted_once():
    images = task(Memory(BROKEN))
    with pytest.warns(UserWarning, match='cannot be read') as got:
        for epoch in range(2):
            list(images.batches('train', 13, epoch=epoch))
    assert len(got) == len(images.bad_images) == 3
    assert images.bad_images['train/ant/2.png'] == 'PIL knows no image format that starts like its 0 bytes'
    assert 'truncated' in images.bad_images['train/ant/1.png'].lower()
    assert any(str(w.message).startswith('train/cow/3.png cannot be read: ') for w in got)


def test_a_callback_is_told_instead():
    images, told = task(Memory(BROKEN)), []
    images.on_bad_image = lambda name, reason: told.append(name)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        list(images.batches('train', 13))
    assert sorted(told) == ['train/ant/1.png', 'train/ant/2.png', 'train/cow/3.png']


@pytest.mark.filterwarnings('ignore:train/')
def test_hosts_agree_on_what_takes_the_place():
    whole = task(Memory(BROKEN)).batches('train', 6)
    same(whole, joined([task(Memory(BROKEN)).batches('train', 6, rows=rows) for rows in ([0, 1, 2], [3, 4, 5])]))


def test_too_many_in_a_row_are_an_error():
    nothing = {name: b'' if name.startswith('train') else data for name, data in FILES.items()}
    with pytest.raises(ValueError, match=r'13 training images in a row cannot be read: train/.*: PIL knows no image'):
        next(task(Memory(nothing)).batches('train', 2))


def test_an_evaluation_fails():
    broken = Memory(FILES | {'val/bee/0.png': b''})
    with pytest.raises(UnreadableImage, match=r'val/bee/0.png cannot be read: PIL knows no image format'):
        list(task(broken).batches('test', 2))
    batches = task(broken).batches('test', 2)
    assert np.all(next(batches)['mask'] == 1)  # What comes before it is not affected.


@pytest.mark.slow
def test_reader_processes_report_them(tmp_path):
    images = task(Memory(BROKEN), reader_processes=1)
    with pytest.warns(UserWarning, match='cannot be read'):
        list(images.batches('train', 13))
    assert len(images.bad_images) == 3
    with pytest.raises(UnreadableImage, match=r'val/bee/0.png cannot be read'):
        list(task(Memory(FILES | {'val/bee/0.png': b''}), reader_processes=1).batches('test', 2))
