"""What happens to an image and its objects, together: scale, mirror image, and a place on a canvas."""

import dataclasses

import numpy as np

from flax_dynconv.training.augmentation._pil import Image, check_filter, check_image, scaled
from flax_dynconv.training.augmentation.color_jitter import color_jitter
from flax_dynconv.training.data.instance_arrays import check_canvas, image_on_canvas, instance_arrays


def fitted_size(height, width, shorter, longest, canvas):
    """(height, width) of an image that is scaled, its ratio of sides kept, and fits the `canvas` (height, width).

    The shorter side becomes `shorter` pixels (None: it stays); less, if the longer one had more than `longest`, or
    the image were larger than the canvas.

    >>> fitted_size(480, 640, 800, 1333, (1344, 1344)), fitted_size(640, 480, 800, 1333, (800, 1344))
    ((800, 1067), (800, 600))

    Source: detectron2's ResizeShortestEdge, which has no canvas.
    """
    factor = 1.0 if shorter is None else shorter / min(height, width)
    sides = height * factor, width * factor
    for limits in ((longest, longest), canvas):
        factor = min(1.0, *(limit / side for limit, side in zip(limits, sides, strict=True)))
        sides = tuple(side * factor for side in sides)
    return tuple(min(limit, max(1, int(side + 0.5))) for limit, side in zip(canvas, sides, strict=True))


@dataclasses.dataclass(frozen=True)
class InstanceTraining:
    """f(PIL image RGB, [`Instance`], generator) -> the arrays of an example, see `instance_arrays`, and its image.

    1. Scaled as `fitted_size` says; the shorter side is one of `shorter_sides` at random (none: it stays).
    2. With probability `flip` the mirror image.
    3. `color_jitter` of the image.
    4. Placed in the upper left corner of the canvas, the rest of which has the colour `fill`.

    `bottom` are `bottom_rows` of the image as it was, scaled like it and rounded down.

    >>> transform = InstanceTraining((32, 64), (16, 24), 64, 0.5, 0.0, 'bilinear', (124, 116, 104), 5, 3)
    >>> example = transform(Image.new('RGB', (20, 10)), [], np.random.default_rng(0))
    >>> example['image'].shape, example['size'].tolist(), example['bottom'].item(), example['masks'].shape
    ((32, 64, 3), [24, 48], 7, (5, 8, 16))

    Source: the augmentation of detectron2 and AdelaiDet, which fill up with the mean too (zeros after normalisation).
    """

    canvas: tuple[int, int]
    shorter_sides: tuple[int, ...]
    longest: int
    flip: float
    color_jitter: float
    interpolation: str
    fill: tuple[int, int, int]
    max_instances: int
    bottom_rows: int = 0

    def __post_init__(self):
        check_filter(self.interpolation)
        check_canvas(self.canvas)

    def __call__(self, image, instances, generator):
        """As the class says."""
        shorter = self.shorter_sides[generator.integers(len(self.shorter_sides))] if self.shorter_sides else None
        flipped = generator.random() < self.flip
        image, size, bottom = _scaled(image, shorter, self)
        if flipped:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        arrays = instance_arrays(instances, size, self.canvas, self.max_instances, flipped)
        return arrays | bottom | {'image': image_on_canvas(color_jitter(image, generator, self.color_jitter), self)}


@dataclasses.dataclass(frozen=True)
class InstanceEvaluation:
    """f(PIL image RGB, [`Instance`]) -> the arrays of an example, see `instance_arrays`, and its image.

    Scaled as `fitted_size` says, and placed in the upper left corner of the canvas, the rest of which has the colour
    `fill`; `bottom` as in `InstanceTraining`.
    """

    canvas: tuple[int, int]
    shorter: int | None
    longest: int
    interpolation: str
    fill: tuple[int, int, int]
    max_instances: int
    bottom_rows: int = 0

    def __post_init__(self):
        check_filter(self.interpolation)
        check_canvas(self.canvas)

    def __call__(self, image, instances):
        """As the class says."""
        image, size, bottom = _scaled(image, self.shorter, self)
        arrays = instance_arrays(instances, size, self.canvas, self.max_instances)
        return arrays | bottom | {'image': image_on_canvas(image, self)}


def _scaled(image, shorter, transform):
    check_image(image)
    height, width = fitted_size(image.height, image.width, shorter, transform.longest, transform.canvas)
    bottom = {'bottom': np.int32(transform.bottom_rows * height // image.height)}
    if (width, height) != image.size:
        image = scaled(image, width, height, transform.interpolation)
    return image, (height, width), bottom
