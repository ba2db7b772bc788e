"""Examples of steerable filtering on uniform noise, of which there is no end."""

import dataclasses

import numpy as np

from flax_dynconv.training.data import passes
from flax_dynconv.training.steering.derivative import directional_derivative


@dataclasses.dataclass(frozen=True)
class Noise:
    """`Examples` image (size, size, 1), theta () and target (size, size, 1), float32: noise in [0, 1), any angle.

    Training angles are uniform in [0, 2 pi). The test angles are 2 pi (i + 1/2) / test_examples, their images drawn
    once and for all, whatever the seed.
    """

    image_size: int
    train_examples: int
    test_examples: int
    name = 'noise'

    def size(self, split):
        """Examples of a pass."""
        return self.train_examples if split == 'train' else self.test_examples

    def training(self, seed, epoch):
        """A function of the position in the pass."""

        def make(position):
            generator = passes.example_generator(seed, epoch, position)
            theta = generator.uniform(0, 2 * np.pi)
            return filtered(self._image(generator), theta)

        return make

    def test(self, index):
        """A test example."""
        return filtered(self._image(passes.held_out_generator(index)), angle(index, self.test_examples))

    def _image(self, generator):
        return generator.random((self.image_size, self.image_size, 1), np.float32)


def angle(index, count):
    """The angle of a test example, in radians: (index + 1/2) / count of a turn."""
    return 2 * np.pi * (index + 0.5) / count


def filtered(image, theta):
    """An example: the image, the angle as float32, and what the filter of that angle gives."""
    theta = np.float32(theta)
    return {'image': image, 'theta': theta, 'target': directional_derivative(image, float(theta))}
