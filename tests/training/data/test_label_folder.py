"""Folders of images and label images: layouts, modes, classes; and what is wrong names its file."""

import io

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.data.label_decoding import decode_labels
from flax_dynconv.training.data.label_folder import LabelFolder
from flax_dynconv.training.data.label_listing import pair_up
from flax_dynconv.training.data.source import UnreadableImage
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.tasks import create_task
from tests.training.data.images import write_folder
from tests.training.data.labelled import NAMES, arrays, claiming, files, grey_png, jpeg, png

LAYOUTS = {
    'plain': '{split}/images/{name}.png {split}/labels/{name}.png',
    'ade20k': 'images/{split}/{name}.png annotations/{split}/{name}.png',
    'cityscapes': 'leftImg8bit/{split}/bonn/{name}_leftImg8bit.png gtFine/{split}/bonn/{name}_gtFine_labelTrainIds.png',
}
# What lies beside the labels and is not meant.
BESIDE = {'cityscapes': {f'gtFine/{split}/bonn/im0_gtFine_color.png': b'' for split in ('train', 'val')}}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_each_layout_gives_the_same_pairs(layout, tmp_path):
    source = LabelFolder(write_folder(tmp_path, files(LAYOUTS[layout]) | BESIDE.get(layout, {})))
    assert source.classes == NAMES
    assert (source.size('train'), source.size('test')) == (8, 3)
    for split, name in (('train', 'train'), ('test', 'val')):
        for number in range(source.size(split)):
            image, labels, path = source.example(split, number, None)
            pixels, expected = arrays(name, number)
            np.testing.assert_array_equal(image, pixels)
            np.testing.assert_array_equal(labels, expected)
            assert labels.dtype == np.int32 and f'im{number}' in path
    assert source.dimensions('test') == {(12, 10), (13, 12), (14, 14)}


@pytest.mark.parametrize('mode', ['L', 'P', 'I;16'])
def test_modes_give_numbers_and_never_colours(mode, tmp_path):
    made = files()
    _, labels = arrays('train', 2)
    made['train/labels/im2.png'] = png(labels.astype(np.uint16 if mode == 'I;16' else np.uint8), mode)
    found = LabelFolder(write_folder(tmp_path, made)).example('train', 2, None)[1]
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize('bits', [2, 4])
def test_few_bits_of_grey_are_not_spread(bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (3, 8), np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., -bits:].reshape(3, -1), axis=1)
    data = grey_png(packed, 8, bits)
    assert np.asarray(Image.open(io.BytesIO(data))).max() == 255  # PIL alone.
    np.testing.assert_array_equal(decode_labels(data, 'labels'), values)


def test_32_bits():
    file = io.BytesIO()
    Image.fromarray(np.array([[70000, 1]], np.int32)).save(file, 'TIFF')  # PIL writes no such PNG.
    assert decode_labels(file.getvalue(), 'labels').tolist() == [[70000, 1]]


def test_jpeg_images_and_classes_by_the_largest_label(tmp_path):
    made = files(names=())
    made['train/images/im0.JPG'] = made.pop('train/images/im0.png')
    source = LabelFolder(write_folder(tmp_path, made))
    assert source.classes == ('0', '1', '2')
    assert source.example('train', 0, None)[2] == 'train/images/im0.JPG'


def test_names_from_a_file_elsewhere(tmp_path):
    (tmp_path / 'names.txt').write_text('Himmel\nBaum\nStraße\n\n', encoding='utf-8')
    source = LabelFolder(write_folder(tmp_path / 'data', files()), tmp_path / 'names.txt')
    assert source.classes == ('Himmel', 'Baum', 'Straße')


@pytest.mark.parametrize('names', [('tree', 'road'), ()])
def test_labels_that_begin_at_one(names, tmp_path):
    source = LabelFolder(write_folder(tmp_path, files(names=names)), reduce_zero_label=True)
    assert source.classes == (names or ('0', '1'))
    _, labels = arrays('train', 1)
    expected = np.where((labels == 0) | (labels == 255), 255, labels.astype(int) - 1)
    np.testing.assert_array_equal(source.example('train', 1, None)[1], expected)


def test_another_label_is_ignored(tmp_path):
    source = LabelFolder(write_folder(tmp_path, files(names=('a', 'b', 'c', 'd')) | _label('im0', 77)), ignore_label=77)
    assert source.example('train', 0, None)[1][0, 0] == 77


@pytest.mark.parametrize(
    ('names', 'options', 'message'),
    [
        (tuple('abc'), {'ignore_label': 2}, r'ignore_label must be larger than .* 3 classes .* are up to 2, got 2'),
        (tuple('abcde'), {'ignore_label': 3, 'reduce_zero_label': True}, r'5 classes .* are up to 5, got 3'),
        (tuple('abcde'), {'ignore_label': 5, 'reduce_zero_label': True}, r'5 classes .* are up to 5, got 5'),
        (tuple(map(str, range(300))), {}, r'the 300 classes of the folder .* are up to 299, got 255'),
    ],
)
def test_a_class_that_would_be_ignored_is_refused(names, options, message, tmp_path):
    folder = write_folder(tmp_path, files(names=names))
    with pytest.raises(ValueError, match=message):
        LabelFolder(folder, **options)


def _label(name, value):
    """The labels of a training image of which the first pixel has a value."""
    labels = np.minimum(arrays('train', int(name[2:]))[1], 2)
    labels[0, 0] = value
    return {f'train/labels/{name}.png': png(labels)}


CUT = png(arrays('train', 3)[1])[:60]
BAD = {
    'no labels': ({'train/labels/im4.png': None}, r"no labels in train/labels/ for \['train/images/im4.png'\]"),
    'no image': ({'val/images/im1.png': None}, r"no image in val/images/ for \['val/labels/im1.png'\]"),
    'colours': (
        {'train/labels/im1.png': png(arrays('train', 1)[0])},
        r'train/labels/im1.png must be a label image of the mode L, P or I, .* got the mode RGB',
    ),
    'another size': (
        {'train/labels/im1.png': png(arrays('train', 2)[1])},
        r'train/labels/im1.png must have the size of its image train/images/im1.png, 12 x 13 pixels, got 14 x 14',
    ),
    'labels that are no image': ({'val/labels/im2.png': b'no'}, r'val/labels/im2.png cannot be read: PIL knows no'),
    'an image that is none': ({'val/images/im2.png': b'no'}, r'val/images/im2.png cannot be read: PIL knows no'),
    'labels cut off within the head': (
        {'val/labels/im2.png': png(arrays('val', 2)[1])[:20]},
        r'val/labels/im2.png cannot be read: OSError: Truncated',
    ),
    'an image cut off within the head': (
        {'val/images/im2.png': None, 'val/images/im2.jpg': jpeg(arrays('val', 2)[0])[:100]},
        r'val/images/im2.jpg cannot be read: ',
    ),
    'too many pixels': (
        {'train/images/im2.png': claiming(files()['train/images/im2.png'], 60000)},
        r'train/images/im2.png cannot be read: DecompressionBombError: ',
    ),
    'two images': (
        {'train/images/im1.jpg': b''},
        r'names must differ in more than the ending, got train/images/im1.jpg and train/images/im1.png',
    ),
    'one class': ({'classes.txt': b'sky\n'}, r'classes.txt must name at least two classes, each once, got 1'),
    'a class twice': ({'classes.txt': b'a\nb\na\n'}, r"must name .* each once, got 3, and twice \['a'\]"),
    'no text': ({'classes.txt': b'\xff\xfe'}, r'classes.txt must be a text with one class name per line'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_is_wrong_is_said_at_opening(case, tmp_path):
    changes, message = BAD[case]
    made = {name: data for name, data in (files() | changes).items() if data is not None}
    with pytest.raises(ValueError, match=message):
        LabelFolder(write_folder(tmp_path, made))


@pytest.mark.parametrize(
    ('changes', 'index', 'error', 'message'),
    [
        ({'train/labels/im3.png': CUT}, 3, UnreadableImage, r'train/labels/im3.png cannot be read: '),
        (
            {'train/images/im2.png': files()['train/images/im2.png'][:90]},
            2,
            UnreadableImage,
            r'train/images/im2.png cannot be read: ',
        ),
        (
            _label('im5', 3),
            5,
            ValueError,
            r'train/labels/im5.png: labels must be from 0 to 2, or 255 for ignored pixels, got \[3\]',
        ),
    ],
    ids=['labels cut off', 'image cut off', 'no class'],
)
def test_what_is_wrong_inside_is_said_when_it_is_read(changes, index, error, message, tmp_path):
    source = LabelFolder(write_folder(tmp_path, files() | changes))
    with pytest.raises(error, match=message):
        source.example('train', index, None)


def test_labels_that_are_no_class_where_they_begin_at_one(tmp_path):
    source = LabelFolder(write_folder(tmp_path, files(names=('a', 'b')) | _label('im5', 3)), reduce_zero_label=True)
    with pytest.raises(ValueError, match=r'train/labels/im5.png: labels must be from 1 to 2, or 255 .*, got \[3\]'):
        source.example('train', 5, None)


def test_a_file_of_names_that_is_not_there(tmp_path):
    folder = write_folder(tmp_path, files())
    settings = Settings(task='segment').updated(model='dmnet_resnet8', data=str(folder), class_names='nowhere.txt')
    with pytest.raises(FileNotFoundError, match=r'^class_names must be a file, there is none at nowhere\.txt$'):
        create_task(settings)


def test_places_without_pairs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'there is no folder .*nowhere'):
        LabelFolder(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match=r'must hold .*/images/IMAGE with .* got the files \[\]: none that ends'):
        LabelFolder(tmp_path)
    with pytest.raises(ValueError, match=r'must hold .* for the splits train and val, got the files \[.train/cat/1'):
        pair_up(['train/cat/1.png', 'val/cat/1.png'], 'here')


def test_a_folder_without_classes(tmp_path):
    empty = {n: png(np.full_like(arrays('train', i)[1], 255)) for i, n in enumerate(_names())}
    with pytest.raises(ValueError, match=r'labels of at least two classes, or a classes.txt .* is -1'):
        LabelFolder(write_folder(tmp_path, files(names=()) | empty))


def _names():
    return [f'train/labels/im{number}.png' for number in range(8)]
