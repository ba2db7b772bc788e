"""Folders of images, depth and masks: names, modes; and what is wrong names its file, also on the command line."""

import io

import numpy as np
import pytest
from PIL import Image

from flax_dynconv import cli
from flax_dynconv.training.data.scene_decoding import decode_depth, decode_mask, depth_array
from flax_dynconv.training.data.scene_folder import SceneFolder
from flax_dynconv.training.data.scene_listing import triple_up
from flax_dynconv.training.data.source import UnreadableImage
from tests.training.data.images import write_folder
from tests.training.data.labelled import jpeg, png
from tests.training.data.scene_files import arrays, files

NAMES = {
    'plain': '{split}/RGB/{name}.png {split}/depth/{name}.png {split}/mask/{name}.png',
    'other names': '{split}/Image/a/{name}.png {split}/Depth/a/{name}.png {split}/GT/a/{name}.png',
}


@pytest.mark.parametrize('layout', NAMES)
def test_each_image_has_its_depth_and_its_mask(layout, tmp_path):
    source = SceneFolder(write_folder(tmp_path, files(NAMES[layout])))
    assert (source.size('train'), source.size('test')) == (6, 3)
    for split in ('train', 'test'):
        for number in range(source.size(split)):
            pixels, depth, mask = arrays(split, number)
            image, found, found_mask, name = source.example(split, number, None)
            np.testing.assert_array_equal(image, pixels)
            # Of 16 bits, all of them count: PIL alone would clip what is above 255.
            expected = depth / (65535 if number % 2 == 0 else 255)
            np.testing.assert_allclose(depth_array(found), expected, rtol=1e-6)
            np.testing.assert_array_equal(found_mask, mask > 0)
            assert found_mask.dtype == bool and f'im{number}' in name
    assert source.dimensions('test') == {(12, 10), (13, 12), (14, 14)}


def test_splits_and_endings(tmp_path):
    made = {path.replace('test/', 'val/'): data for path, data in files().items()}
    made['train/RGB/im0.jpg'] = jpeg(arrays('train', 0)[0])
    del made['train/RGB/im0.png']
    source = SceneFolder(write_folder(tmp_path, made))
    assert source.example('train', 0, None)[3] == 'train/RGB/im0.jpg'
    assert source.example('test', 1, None)[3] == 'val/RGB/im1.png'


@pytest.mark.parametrize('mode', ['1', 'L', 'I;16', 'jpeg'])
def test_masks_are_what_is_above_half_of_the_largest_value(mode):
    grey = np.zeros((8, 16), np.uint8)
    grey[:, 8:] = 200
    mask = grey > 0
    data = {
        '1': lambda: png(mask),
        'L': lambda: png(grey + np.uint8(10)),
        'I;16': lambda: png(grey.astype(np.uint16) * 257),
        'jpeg': lambda: jpeg(grey),
    }[mode]()
    np.testing.assert_array_equal(decode_mask(data, 'mask'), mask)
    assert not decode_mask(png(np.zeros((2, 2), np.uint8)), 'mask').any()


def test_depth_of_32_bits_is_refused():
    file = io.BytesIO()
    Image.fromarray(np.array([[70000, 1]], np.int32)).save(file, 'TIFF')
    with pytest.raises(ValueError, match=r'^d.tif: depth must be of 8 or 16 bits, got values from 1 to 70000$'):
        decode_depth(file.getvalue(), 'd.tif')


BAD = {
    'no depth': ({'train/depth/im4.png': None}, r"there is no depth in train/depth/ for \['train/RGB/im4.png'\]"),
    'no mask': ({'test/mask/im1.png': None}, r"there is no mask in test/mask/ for \['test/RGB/im1.png'\]"),
    'no image': ({'test/RGB/im1.png': None}, r"there is no image in test/RGB/ for \['test/depth/im1.png'\]"),
    'depth in colours': (
        {'train/depth/im1.png': png(arrays('train', 1)[0])},
        r'train/depth/im1.png must be depth in one channel of 8 or 16 bits, got the mode RGB',
    ),
    'a mask in colours': (
        {'test/mask/im2.png': png(arrays('test', 2)[0])},
        r'test/mask/im2.png must be a grey mask, of 1, 8 or 16 bits, got the mode RGB',
    ),
    'depth of another size': (
        {'train/depth/im1.png': png(arrays('train', 2)[1])},
        r'train/depth/im1.png must have the size of its image train/RGB/im1.png, 12 x 13 pixels, got .* 14 x 14',
    ),
    'a mask of another size': (
        {'train/mask/im1.png': png(arrays('train', 2)[2])},
        r'train/mask/im1.png must have the size of its image train/RGB/im1.png, 12 x 13 pixels, got .* 14 x 14',
    ),
    'depth that is no image': ({'test/depth/im2.png': b'no'}, r'test/depth/im2.png cannot be read: PIL knows no'),
    'a mask cut off within the head': (
        {'test/mask/im2.png': png(arrays('test', 2)[2])[:20]},
        r'test/mask/im2.png cannot be read: OSError: Truncated',
    ),
    'two images': (
        {'train/RGB/im1.jpg': b''},
        r'names must differ in more than the ending, got train/RGB/im1.jpg and train/RGB/im1.png',
    ),
    'two folders of masks': (
        {'train/GT/im1.png': b''},
        r"train must hold one folder of masks .* got \['GT', 'mask'\] of \['GT', 'RGB', 'depth', 'mask'\]",
    ),
    'no test images': (
        {path: None for path in files() if path.startswith('test/')},
        r'must hold SPLIT/RGB/IMAGE, .* got no test images among the files',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_what_is_wrong_is_said_at_opening(case, tmp_path):
    changes, message = BAD[case]
    made = {name: data for name, data in (files() | changes).items() if data is not None}
    with pytest.raises(ValueError, match=message):
        SceneFolder(write_folder(tmp_path, made))


@pytest.mark.parametrize('kind', ['RGB', 'depth', 'mask'])
def test_what_is_cut_off_is_said_when_it_is_read(kind, tmp_path):
    name = f'train/{kind}/im5.png'
    source = SceneFolder(write_folder(tmp_path, files() | {name: files()[name][:90]}))
    with pytest.raises(UnreadableImage, match=f'^{name} cannot be read: '):
        source.example('train', 5, None)


def test_places_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'there is no folder .*nowhere'):
        SceneFolder(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match=r'got no train images among the files \[\]: none that ends in .jpg'):
        SceneFolder(tmp_path)
    with pytest.raises(ValueError, match=r'train must hold one folder of depths .*called depth or depths'):
        triple_up(['train/RGB/1.png', 'train/mask/1.png', 'test/RGB/1.png'], 'here')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'train/depth/im4.png': None}, "no depth in train/depth/ for ['train/RGB/im4.png']"),
        ({'test/mask/im2.png': png(arrays('test', 2)[0])}, 'test/mask/im2.png must be a grey mask'),
        ({'train/mask/im0.png': b'no'}, 'train/mask/im0.png cannot be read: PIL knows no image format'),
    ],
    ids=['missing', 'colours', 'no image'],
)
def test_the_command_names_the_file(changes, message, tmp_path, capsys):
    pytest.importorskip('tyro', reason='it reads the command line')
    made = {name: data for name, data in (files() | changes).items() if data is not None}
    folder = write_folder(tmp_path / 'data', made)
    flags = ['--task', 'saliency', '--data', str(folder), '--image-size', '16']
    assert cli.main(['train', *flags, '--run-dir', str(tmp_path / 'run')]) == 2
    assert message in ' '.join(capsys.readouterr().err.split())
