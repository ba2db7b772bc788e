"""What happens to an image, its depth and the mask of its objects, together: scale, mirror image and rotation."""

import dataclasses

import numpy as np

from flax_dynconv.training.augmentation._pil import Image, check_image, check_sizes, pixels, scaled
from flax_dynconv.training.augmentation.color_jitter import color_jitter
from flax_dynconv.training.data.scene_decoding import depth_array


@dataclasses.dataclass(frozen=True)
class SceneTraining:
    """f(PIL image RGB, PIL depth of the mode L or F, mask (H, W) bool, generator) -> arrays of `size` x `size` pixels.

    1. Scaled to the square, whatever the proportions: image and depth bilinearly, the mask by the nearest pixel.
    2. With probability `flip` the mirror image.
    3. Turned around the middle by an angle from -rotation to rotation degrees, likewise; zeros in the corners.
    4. `color_jitter` of the image.

    The arrays are image (size, size, 3) uint8, depth (size, size, 1) float32 and target (size, size, 1) uint8, 0 or 1.

    >>> transform = SceneTraining(8, 0.5, 10.0, 0.1)
    >>> scene = Image.new('RGB', (12, 9)), Image.new('L', (12, 9)), np.ones((9, 12), bool)
    >>> {name: array.shape for name, array in transform(*scene, np.random.default_rng(0)).items()}
    {'image': (8, 8, 3), 'depth': (8, 8, 1), 'target': (8, 8, 1)}

    Source: the training of lartpang/HDFNet, whose PIL scales both axes in one call.
    """

    size: int
    flip: float
    rotation: float
    color_jitter: float

    def __post_init__(self):
        check_sizes(size=self.size)

    def __call__(self, image, depth, mask, generator):
        """As the class says."""
        image, depth, mask = _square(image, depth, mask, self.size)
        if generator.random() < self.flip:
            image, depth, mask = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (image, depth, mask))
        if self.rotation:
            angle = generator.uniform(-self.rotation, self.rotation)
            image, depth = (each.rotate(angle, Image.Resampling.BILINEAR) for each in (image, depth))
            mask = mask.rotate(angle, Image.Resampling.NEAREST)
        return _arrays(color_jitter(image, generator, self.color_jitter), depth, mask)


@dataclasses.dataclass(frozen=True)
class SceneEvaluation:
    """f(PIL image RGB, PIL depth of the mode L or F, mask (H, W) bool) -> the same arrays, scaled and nothing else.

    >>> arrays = SceneEvaluation(8)(Image.new('RGB', (4, 4)), Image.new('F', (4, 4), 0.5), np.ones((4, 4), bool))
    >>> arrays['depth'].mean().item(), arrays['target'].sum().item()
    (0.5, 64)
    """

    size: int

    def __post_init__(self):
        check_sizes(size=self.size)

    def __call__(self, image, depth, mask):
        """As the class says."""
        return _arrays(*_square(image, depth, mask, self.size))


def _square(image, depth, mask, size):
    check_image(image)
    mask = Image.fromarray(mask.astype(np.uint8))
    if image.size != (size, size):
        image, depth = (scaled(each, size, size, 'bilinear') for each in (image, depth))
        mask = mask.resize((size, size), Image.Resampling.NEAREST)
    return image, depth, mask


def _arrays(image, depth, mask):
    return {'image': pixels(image), 'depth': depth_array(depth)[:, :, None], 'target': np.array(mask)[:, :, None]}
