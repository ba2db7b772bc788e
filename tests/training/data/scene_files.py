"""A small set of images with depth and masks, in folders."""

import numpy as np

from tests.training.data.labelled import png

COUNTS = {'train': 6, 'test': 3}


def arrays(split, number):
    """(pixels, depth of 16 bits for even numbers and of 8 for odd ones, mask of 0 and 255) of one image: noise."""
    generator = np.random.default_rng((len(split), number))
    shape = 12 + number, 10 + 2 * number
    depth = generator.integers(0, 65536, shape).astype(np.uint16)
    depth = depth if number % 2 == 0 else (depth // 257).astype(np.uint8)
    pixels = generator.integers(0, 256, (*shape, 3), np.uint8)
    return pixels, depth, np.uint8(255) * (generator.random(shape) < 0.4).astype(np.uint8)


def files(layout='{split}/RGB/{name}.png {split}/depth/{name}.png {split}/mask/{name}.png'):
    """{path: bytes} of all triples."""
    made = {}
    for split, count in COUNTS.items():
        for number in range(count):
            for path, pixels in zip(layout.split(), arrays(split, number), strict=True):
                made[path.format(split=split, name=f'im{number}')] = png(pixels)
    return made
