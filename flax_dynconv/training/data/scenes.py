"""Drawn pictures with depth, of which some objects show in colour alone and some in depth alone: always there."""

import numpy as np
from PIL import Image

from flax_dynconv.training.data.drawn import DrawnPictures
from flax_dynconv.training.data.passes import held_out_generator

# What reveals the object of a scene; test scenes have them in turn.
KINDS = ('depth', 'colour', 'both')
# Of the side of the picture: half the extent of an object, and of a hollow.
RADII, HOLLOWS = (0.2, 0.3), (0.13, 0.2)
# Levels: deviation of each pixel's noise; range of the texture; how far colours are from the ground's.
NOISE, TEXTURE, CONTRAST = 8.0, 60.0, 90.0
# Of depth, from 0 (far) to 1 (near): range of the ground's middle; how far it may rise from edge to edge; how far
# objects stand out and hollows go back; deviation of each pixel's noise.
GROUND, SLOPE, HEIGHT, DEPTH_NOISE = (0.4, 0.6), 0.2, (0.15, 0.3), 0.02


class Scenes(DrawnPictures):
    """Pictures of `side` x `side` pixels with depth, each with one salient object and two hollows, which are none.

    `example(split, index, generator)` gives a training picture that is drawn with `generator` (numbers of seed, epoch
    and position), or test picture `index`, which is the same in every run, whatever its seed, and whose object is
    revealed by `KINDS[index % 3]`.
    """

    name = 'scenes'

    def example(self, split, index, generator):
        """(PIL image RGB, PIL depth of the mode F, mask (H, W) bool, name)."""
        if split == 'test':
            generator, kind = held_out_generator(index), KINDS[index % len(KINDS)]
        else:
            kind = KINDS[generator.integers(len(KINDS))]
        pixels, depth, mask = draw_scene(generator, self.side, kind)
        return Image.fromarray(pixels), Image.fromarray(depth), mask, f'drawn {split} scene {index} ({kind})'


def draw_scene(generator, size, kind):
    """A picture (size, size, 3) uint8, its depth (size, size) float32 from 0 to 1 (near), and the object's mask, bool.

    The ground is a random colour with a smooth random texture on a tilted plane. The object, a circle, a square or a
    triangle, is nearer than the ground and has its colours (`kind` 'depth'), has a colour of its own and lies flat on
    it ('colour'), or both ('both'). Two hollows are farther than the ground; one has a colour of its own, one has not.
    So neither suffices alone: what shows in colour is an object or a hollow, as depth says, and flat objects show in
    colour only. The object covers what is behind it. All values have normal noise.

    >>> pixels, depth, mask = draw_scene(np.random.default_rng(0), 32, 'depth')
    >>> pixels.shape, depth.shape, depth.dtype.name, bool(mask.any())
    ((32, 32, 3), (32, 32), 'float32', True)
    """
    colour, plane = _ground(generator, size)
    pixels, depth = colour, plane
    for own_colour in (False, True):
        inside = _shape(generator, size, HOLLOWS)
        depth = np.where(inside, plane - generator.uniform(*HEIGHT), depth)
        pixels = _painted(pixels, inside, _colour(generator, colour) if own_colour else colour)
    mask = _shape(generator, size, RADII)
    depth = np.where(mask, plane + (0 if kind == 'colour' else generator.uniform(*HEIGHT)), depth)
    pixels = _painted(pixels, mask, colour if kind == 'depth' else _colour(generator, colour))
    pixels = pixels + generator.normal(0, NOISE, pixels.shape)
    depth = depth + generator.normal(0, DEPTH_NOISE, depth.shape)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8), np.clip(depth, 0, 1).astype(np.float32), mask


def _ground(generator, size):
    """Its colours (size, size, 3) and its depth (size, size)."""
    coarse = generator.uniform(-TEXTURE / 2, TEXTURE / 2, (5, 5)).astype(np.float32)
    texture = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    down, across = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    tilt = generator.uniform(-SLOPE, SLOPE, 2)
    colours = generator.uniform(40, 215, 3)[None, None, :] + texture[:, :, None]
    return colours, generator.uniform(*GROUND) + tilt[0] * down + tilt[1] * across


def _shape(generator, size, radii):
    """Where a circle, a square or a triangle of a random size, place and angle is: (size, size) bool."""
    radius = size * generator.uniform(*radii)
    middle = generator.uniform(radius, size - radius, 2)
    angle = generator.uniform(0, 2 * np.pi)
    down, across = np.mgrid[:size, :size] + 0.5
    u = np.cos(angle) * (across - middle[0]) + np.sin(angle) * (down - middle[1])
    v = np.cos(angle) * (down - middle[1]) - np.sin(angle) * (across - middle[0])
    which = generator.integers(3)
    if which == 0:
        return u**2 + v**2 <= radius**2
    if which == 1:
        return np.maximum(np.abs(u), np.abs(v)) <= 0.85 * radius
    # Three half planes at the same distance from the middle; the corners are at 1.2 radii.
    return np.max([np.cos(turn) * u + np.sin(turn) * v for turn in (0, 2 * np.pi / 3, 4 * np.pi / 3)], axis=0) <= (
        0.6 * radius
    )


def _painted(pixels, inside, colour):
    """The pixels, inside of a colour (3,) or of the colours of a picture (size, size, 3)."""
    return np.where(inside[:, :, None], np.broadcast_to(colour, pixels.shape), pixels)


def _colour(generator, ground):
    """A colour far enough from the mean of the ground's."""
    mean = ground.mean(axis=(0, 1))
    while True:
        colour = generator.uniform(0, 255, 3)
        if np.linalg.norm(colour - mean) >= CONTRAST:
            return colour
