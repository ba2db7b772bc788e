"""A small set of images with labelled pixels, in folders."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

NAMES = ('sky', 'tree', 'road')
COUNTS = {'train': 8, 'val': 3}


def png(pixels, mode=None):
    """Bytes of a PNG; `mode` P: the pixels are indices into a palette of random colours."""
    image = Image.fromarray(pixels)
    if mode == 'P':
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()


def jpeg(pixels):
    """Bytes of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG')
    return file.getvalue()


def grey_png(rows, width, bits):
    """Bytes of a grey PNG with so many bits a pixel, from its packed rows (H, bytes): PIL writes 1, 8 and 16 only."""
    head = struct.pack('>IIBBBBB', width, len(rows), bits, 0, 0, 0, 0)
    pixels = zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows))
    chunks = (b'IHDR', head), (b'IDAT', pixels), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(_chunk(*chunk) for chunk in chunks)


def claiming(data, side):
    """A PNG whose head says that its sides are other ones."""
    head = struct.pack('>II', side, side) + data[24:29]
    return data[:8] + _chunk(b'IHDR', head) + data[33:]


def _chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def arrays(split, number, classes=3):
    """(pixels, labels) of one image: noise of its own size, every class and ignored pixels."""
    generator = np.random.default_rng((len(split), number))
    shape = 12 + number, 10 + 2 * number
    labels = generator.integers(0, classes + 1, shape)
    return generator.integers(0, 256, (*shape, 3), np.uint8), np.where(labels == classes, 255, labels).astype(np.uint8)


def files(layout='{split}/images/{name}.png {split}/labels/{name}.png', names=NAMES, mode=None):
    """{path: bytes} of all pairs, and of classes.txt where there are names."""
    image, label = layout.split()
    made = {'classes.txt': '\n'.join(names).encode()} if names else {}
    for split, count in COUNTS.items():
        for number in range(count):
            pixels, labels = arrays(split, number)
            made[image.format(split=split, name=f'im{number}')] = png(pixels)
            made[label.format(split=split, name=f'im{number}')] = png(labels, mode)
    return made
