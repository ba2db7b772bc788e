"""Images of all kinds become RGB of 8 bits; damaged ones are named."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.source import UnreadableImage
from tests.training.data.images import png

NOISE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_one_channel_is_repeated_to_three():
    image = decode(png(NOISE[..., 0]), 'grey.png')
    assert image.mode == 'RGB'
    np.testing.assert_array_equal(np.asarray(image), np.repeat(NOISE[..., :1], 3, axis=-1))


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_sixteen_bits_are_scaled_and_not_clipped(kind):
    levels = np.array([[0, 128, 129, 255, 256, 257, 32768, 65279, 65407, 65535]], np.uint16)
    image = decode(saved(Image.fromarray(levels), kind), 'deep')
    expected = np.rint(levels[0] * (255 / 65535))
    assert expected.tolist() == [0, 0, 1, 1, 1, 1, 128, 254, 255, 255]
    np.testing.assert_array_equal(np.asarray(image)[0], np.repeat(expected[:, None], 3, axis=-1))


def test_other_colours_are_converted_as_by_pil():
    rgb = Image.fromarray(NOISE)
    for mode, kind in (('CMYK', 'TIFF'), ('YCbCr', 'TIFF'), ('P', 'PNG'), ('1', 'PNG'), ('RGBA', 'PNG'), ('LA', 'PNG')):
        image = rgb.convert('L').convert(mode) if mode == 'LA' else rgb.convert(mode)
        decoded = decode(saved(image, kind), mode)
        np.testing.assert_array_equal(np.asarray(decoded), np.asarray(image.convert('RGB')), err_msg=mode)


def test_alpha_is_left_out():
    image = Image.fromarray(np.concatenate([NOISE, np.zeros((9, 7, 1), np.uint8)], axis=-1))
    np.testing.assert_array_equal(np.asarray(decode(png(np.asarray(image)), 'clear.png')), NOISE)


def test_orientation_in_exif_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(Image.fromarray(NOISE), 'JPEG', exif=exif), 'turned.jpg').size == (7, 9)


def test_decoded_images_are_taken_too():
    np.testing.assert_array_equal(np.asarray(decode(Image.fromarray(NOISE), 'x')), NOISE)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', r'train/cat/1.jpg cannot be read: PIL knows no image format that starts like its 0 bytes'),
        (b'<html>404</html>', r'starts like its 16 bytes'),
        (png(NOISE)[:150], r'train/cat/1.jpg cannot be read: .*truncated'),
        (saved(Image.fromarray(np.tile(NOISE, (8, 8, 1))), 'JPEG')[:-900], r'image file is truncated'),
        (png(NOISE).replace(b'IDAT', b'IDAX'), r'train/cat/1.jpg cannot be read: '),
        (
            saved(Image.fromarray(np.zeros((2, 2), np.float32)), 'TIFF'),
            r'floating point numbers, expected 8 or 16 bits',
        ),
        (
            saved(Image.fromarray(np.array([[-1, 70000]], np.int32)), 'TIFF'),
            r'its pixels are from -1 to 70000, expected 8 or 16 bits',
        ),
    ],
)
def test_damage_is_named(data, message):
    with pytest.raises(UnreadableImage, match=message) as first:
        decode(data, 'train/cat/1.jpg')
    with pytest.raises(UnreadableImage) as second:
        decode(data, 'train/cat/1.jpg')
    assert str(first.value) == str(second.value)  # no addresses in it
    assert str(pickle.loads(pickle.dumps(first.value))) == str(first.value)
