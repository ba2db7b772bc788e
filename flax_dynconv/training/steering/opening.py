"""The images that `--data` names: noise, or those of a file."""

from pathlib import Path

from flax_dynconv.training.data.array_files import SUFFIXES
from flax_dynconv.training.steering.images import read_images
from flax_dynconv.training.steering.noise import Noise

NOISE = 'noise'
IMAGE_SIZE = 64


def open_images(settings):
    """The `Examples` of `settings.images.data`: 'noise', or an .npy or .npz file of grey images.

    Raises FileNotFoundError and ValueError, with the name of the file, for what cannot be read.
    """
    images, drawn = settings.images, settings.drawn
    if images.data == NOISE:
        return Noise(images.image_size or IMAGE_SIZE, drawn.train_examples, drawn.test_examples)
    if Path(images.data).suffix not in SUFFIXES:
        raise ValueError(f"data must be '{NOISE}' or a file {' or '.join(SUFFIXES)}, got {images.data!r}")
    return read_images(images.data, images.image_size, drawn.test_examples)
