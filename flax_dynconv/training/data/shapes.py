"""Drawn pictures of coloured shapes on a texture, with the class of every pixel: data that are always there."""

import numpy as np
from PIL import Image

from flax_dynconv.training.data.drawn import DrawnPictures
from flax_dynconv.training.data.passes import held_out_generator

CLASSES = ('background', 'circle', 'square', 'triangle', 'stripes')
SHAPES = (2, 4)
# Of the side of the picture: half the extent of a shape.
RADII = (0.14, 0.23)
# Radians by which shapes lean.
TILT = 0.15
# Levels: deviation of each pixel's noise; range of the texture; how far colours of a shape are from the ground's, and
# those of stripes from each other.
NOISE, TEXTURE, CONTRAST = 8.0, 60.0, 90.0


class Shapes(DrawnPictures):
    """Pictures of `side` x `side` pixels, each with two to four shapes; later ones lie on top of earlier ones.

    `example(split, index, generator)` gives a training picture that is drawn with `generator` (numbers of seed, epoch
    and position), or test picture `index`, which is the same in every run, whatever its seed.
    """

    classes = CLASSES

    def example(self, split, index, generator):
        """(PIL image RGB, labels (H, W) int32, name)."""
        if split == 'test':
            generator = held_out_generator(index)
        pixels, labels = draw_shapes(generator, self.side)
        return Image.fromarray(pixels), labels, f'drawn {split} picture {index}'


def draw_shapes(generator, size):
    """A picture (size, size, 3) uint8, and the class of each of its pixels (size, size) int32, by `CLASSES`.

    The ground is a random colour with a smooth random texture. Circle, square and equilateral triangle have one colour
    each, stripes are a square patch of bars in two colours, upright or across; all lean a little, have random sizes and
    places, and colours that are at least 90 of 255 levels (Euclidean) from the ground's mean. At last every value gets
    normal noise.

    >>> pixels, labels = draw_shapes(np.random.default_rng(0), 32)
    >>> pixels.shape, labels.shape, bool(labels.any())
    ((32, 32, 3), (32, 32), True)
    """
    ground, pixels = textured_ground(generator, size)
    labels = np.zeros((size, size), np.int32)
    down, across = np.mgrid[:size, :size] + 0.5
    for _ in range(generator.integers(SHAPES[0], SHAPES[1] + 1)):
        label = int(generator.integers(1, len(CLASSES)))
        radius = size * generator.uniform(*RADII)
        middle = generator.uniform(0.8 * radius, size - 0.8 * radius, 2)
        angle = generator.uniform(-TILT, TILT) + generator.integers(2) * np.pi / 2
        first = _colour(generator, ground)
        second = _colour(generator, ground, first)
        bars = radius * generator.uniform(0.45, 0.65)
        u = np.cos(angle) * (across - middle[0]) + np.sin(angle) * (down - middle[1])
        v = np.cos(angle) * (down - middle[1]) - np.sin(angle) * (across - middle[0])
        shape = inside(CLASSES[label], u, v, radius)
        odd = (np.floor(u * 2 / bars) % 2 == 1) & (CLASSES[label] == 'stripes')
        pixels = np.where((shape & ~odd)[:, :, None], first[None, None, :], pixels)
        pixels = np.where((shape & odd)[:, :, None], second[None, None, :], pixels)
        labels[shape] = label
    return with_noise(generator, pixels), labels


def textured_ground(generator, size):
    """A random colour (3,), and (size, size, 3) of it with a smooth random texture; both are floats."""
    ground = generator.uniform(40, 215, 3)
    coarse = generator.uniform(-TEXTURE / 2, TEXTURE / 2, (5, 5)).astype(np.float32)
    texture = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    return ground, ground[None, None, :] + texture[:, :, None]


def with_noise(generator, pixels):
    """`pixels` with normal noise, rounded to uint8."""
    pixels = pixels + generator.normal(0, NOISE, pixels.shape)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def inside(name, u, v, radius):
    """Where a circle, a triangle or else a square is, in coordinates `u`, `v` from its middle: bool, as large."""
    if name == 'circle':
        return u**2 + v**2 <= radius**2
    if name == 'triangle':
        # Three half planes at the same distance from the middle; the corners are at 1.2 radii.
        sides = [np.cos(turn) * u + np.sin(turn) * v for turn in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
        return np.max(sides, axis=0) <= 0.6 * radius
    return np.maximum(np.abs(u), np.abs(v)) <= 0.85 * radius


def _colour(generator, *others):
    while True:
        colour = generator.uniform(0, 255, 3)
        if all(np.linalg.norm(colour - other) >= CONTRAST for other in others):
            return colour
