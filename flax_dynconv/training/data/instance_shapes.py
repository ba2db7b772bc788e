"""Drawn pictures of shapes that overlap, with box and mask of each: data of instance segmentation always there."""

import numpy as np
from PIL import Image

from flax_dynconv.training.data import run_lengths
from flax_dynconv.training.data.drawn import DrawnPictures
from flax_dynconv.training.data.instances import Bitmap, Instance, box_of
from flax_dynconv.training.data.passes import held_out_generator
from flax_dynconv.training.data.shapes import TILT, inside, textured_ground, with_noise
from flax_dynconv.training.data.source import check_split

CLASSES = ('circle', 'square', 'triangle', 'ring')
SHAPES = (3, 7)
# Of the side of the picture: half the extent of a shape, evenly by its logarithm. The hole of a ring, of its radius.
RADII = (0.06, 0.24)
HOLE = 0.5
# How often a shape is put beside the one before, and how far from it, of the sum of their radii.
BESIDE, DISTANCES = 0.5, (0.4, 0.9)
# What must be seen of a shape: pixels, and a share of it.
LEAST_PIXELS, LEAST_SHARE = 16, 0.3
# Random colours of which the one that is farthest from the others of the picture is taken.
COLOURS = 8


class InstanceShapes(DrawnPictures):
    """Pictures of `side` x `side` pixels, each with up to seven shapes, which hide parts of each other.

    `example(split, index, generator)` gives a training picture that is drawn with `generator` (numbers of seed, epoch
    and position), or test picture `index`, which is the same in every run, whatever its seed. See `draw_instances`.
    """

    classes = CLASSES
    category_ids = tuple(range(1, len(CLASSES) + 1))

    def example(self, split, index, generator):
        """(PIL image RGB, [`Instance`], name)."""
        if split == 'test':
            generator = held_out_generator(index)
        pixels, instances = draw_instances(generator, self.side)
        return Image.fromarray(pixels), instances, f'drawn {split} picture {index}'

    def image_id(self, split, index):
        """The index: as in `truth`."""
        check_split(split, self.splits)
        return index

    def image_size(self, split, index):
        """(height, width)."""
        check_split(split, self.splits)
        return self.side, self.side

    def truth(self, split):
        """The shapes of the test pictures in the form of COCO's json; ValueError for 'train', drawn anew every time."""
        if split != 'test':
            raise ValueError(f"split must be 'test', the pictures that are the same in every run, got {split!r}")
        annotations = []
        for index in range(self.size(split)):
            for instance in self.example(split, index, None)[1]:
                x0, y0, x1, y1 = instance.box
                annotations.append(
                    {
                        'id': len(annotations) + 1,  # pycocotools takes 0 for no object.
                        'image_id': index,
                        'category_id': self.category_ids[instance.label],
                        'bbox': [x0, y0, x1 - x0, y1 - y0],
                        'area': instance.area,
                        'iscrowd': 0,
                        'segmentation': run_lengths.encode(instance.mask),
                    }
                )
        side = {'width': self.side, 'height': self.side}
        images = [{'id': index, 'file_name': f'{index}.png', **side} for index in range(self.size(split))]
        categories = [{'id': n, 'name': name} for n, name in zip(self.category_ids, self.classes, strict=True)]
        return {'images': images, 'annotations': annotations, 'categories': categories}


def draw_instances(generator, size):
    """A picture (size, size, 3) uint8, and its [`Instance`], the lowest first: boxes and masks of what is seen.

    The ground is a random colour with a smooth random texture. Three to seven shapes of one colour each, by `CLASSES`
    in equal shares, lean a little; half of them touch the shape before. Later ones lie on top. A shape of which others
    leave less than 16 pixels, or 0.3 of what is within the picture, is not drawn at all, so that everything that is
    seen has a mask. At last every value gets normal noise.

    >>> pixels, instances = draw_instances(np.random.default_rng(0), 64)
    >>> pixels.shape, len(instances) > 1, instances[0].mask.shape
    ((64, 64, 3), True, (64, 64))
    """
    ground, pixels = textured_ground(generator, size)
    labels, shapes = _shapes(generator, size)
    seen = _seen(shapes)
    colours, instances = [ground], []
    for label, shape, mask in zip(labels, shapes, seen, strict=True):
        if mask is None:
            continue
        colours.append(_colour(generator, colours))
        pixels = np.where(shape[:, :, None], colours[-1][None, None, :], pixels)
        instances.append(Instance(label, box_of(mask), Bitmap(mask), float(mask.sum())))
    return with_noise(generator, pixels), instances


def _shapes(generator, size):
    """Labels, and where each shape is, (size, size) bool."""
    down, across = np.mgrid[:size, :size] + 0.5
    labels, shapes, last = [], [], None
    for _ in range(generator.integers(SHAPES[0], SHAPES[1] + 1)):
        labels.append(int(generator.integers(len(CLASSES))))
        radius = size * np.exp(generator.uniform(*np.log(RADII)))
        middle = generator.uniform(0.5 * radius, size - 0.5 * radius, 2)
        if last is not None and generator.random() < BESIDE:
            turn, distance = generator.uniform(0, 2 * np.pi), generator.uniform(*DISTANCES) * (radius + last[1])
            beside = last[0] + distance * np.array([np.cos(turn), np.sin(turn)])
            middle = np.clip(beside, 0.5 * radius, size - 0.5 * radius)
        angle, last = generator.uniform(-TILT, TILT), (middle, radius)
        u = np.cos(angle) * (across - middle[0]) + np.sin(angle) * (down - middle[1])
        v = np.cos(angle) * (down - middle[1]) - np.sin(angle) * (across - middle[0])
        name = CLASSES[labels[-1]]
        if name == 'ring':
            shapes.append(inside('circle', u, v, radius) & ~inside('circle', u, v, HOLE * radius))
        else:
            shapes.append(inside(name, u, v, radius))
    return labels, shapes


def _seen(shapes):
    """What is seen of each shape, or None: decided from the top, so that one that is left out hides nothing."""
    covered, seen = np.zeros_like(shapes[0]), []
    for shape in reversed(shapes):
        mask = shape & ~covered
        enough = mask.sum() >= max(LEAST_PIXELS, LEAST_SHARE * shape.sum())
        seen.append(mask if enough else None)
        if enough:
            covered |= shape
    return seen[::-1]


def _colour(generator, others):
    candidates = generator.uniform(0, 255, (COLOURS, 3))
    distances = np.linalg.norm(candidates[:, None, :] - np.stack(others)[None, :, :], axis=-1)
    return candidates[np.argmax(distances.min(axis=1))]
