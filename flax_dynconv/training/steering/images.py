"""Examples of steerable filtering on images of a file: any angle, and where the images are larger, any part."""

import dataclasses

import numpy as np

from flax_dynconv.training.data import array_files, passes
from flax_dynconv.training.steering.noise import angle, filtered


@dataclasses.dataclass(frozen=True)
class Images:
    """`Examples` image, theta and target as of `noise.Noise`, from `arrays` {'train', 'test'} of grey images (N, H, W).

    An epoch shows every training image once, at an angle uniform in [0, 2 pi), and of an image larger than `size` a
    part that is drawn too. Test image i has the angle 2 pi (i + 1/2) / N, and its central part is taken.
    """

    name: str
    arrays: dict
    shape: tuple[int, int]

    def size(self, split):
        """Examples of a pass."""
        return len(self.arrays[split])

    def training(self, seed, epoch):
        """A function of the position in the pass."""
        order = passes.order(self.size('train'), seed, epoch)

        def make(position):
            generator = passes.example_generator(seed, epoch, position)
            theta, image = generator.uniform(0, 2 * np.pi), self.arrays['train'][order[position]]
            corner = [generator.integers(0, room + 1) for room in self._room(image)]
            return self._filtered(image, corner, theta)

        return make

    def test(self, index):
        """A test example."""
        image = self.arrays['test'][index]
        return self._filtered(image, [room // 2 for room in self._room(image)], angle(index, self.size('test')))

    def _room(self, image):
        return [own - wanted for own, wanted in zip(image.shape[:2], self.shape, strict=True)]

    def _filtered(self, image, corner, theta):
        (top, left), (height, width) = corner, self.shape
        part = image[top : top + height, left : left + width]
        return filtered(array_files.scaled(part).reshape(height, width, 1), theta)


def read_images(path, image_size, test_examples):
    """The `Images` of a file: grey, (N, H, W) or (N, H, W, 1), uint8 or floats from 0 to 1.

    An .npz holds 'train' and 'test'; of a single array the last `test_examples` images are held out. `image_size` is
    the length of the squares that are cut out (None: whole images). Raises FileNotFoundError, and ValueError, with
    the name of the file, for anything else.
    """
    arrays = array_files.read_arrays(path)
    for name, array in arrays.items():
        if array.ndim == 4 and array.shape[-1] == 1:
            array = arrays[name] = array[..., 0]
        array_files.check_pixels(
            array, 3, array_files.where(path, name), '(images, height, width) or (images, height, width, 1)'
        )
    arrays = array_files.by_split(arrays, test_examples, path)
    shapes = {split: array.shape[1:] for split, array in arrays.items()}
    smallest = tuple(min(sides) for sides in zip(*shapes.values(), strict=True))
    if image_size is None and shapes['train'] != shapes['test']:
        raise ValueError(f"{path}: images of 'train' and 'test' must have one size, or --image-size, got {shapes}")
    if image_size is not None and image_size > min(smallest):
        raise ValueError(f'image_size must be at most that of the images in {path}, {shapes}, got {image_size}')
    return Images(str(path), arrays, smallest if image_size is None else (image_size, image_size))
