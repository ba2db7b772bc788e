"""`flax-dynconv predict --run RUN IMAGE... --output DIR`: the class of every pixel of images, as PNG files."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from flax_dynconv.commands.image_files import read_images
from flax_dynconv.commands.output_files import output_files
from flax_dynconv.layers import resize_bilinear
from flax_dynconv.training.augmentation._pil import scaled
from flax_dynconv.training.augmentation.labelled import scaled_size
from flax_dynconv.training.palette import coloured, palette

# Of an overlay: how much of the class's colour.
OPACITY = 0.5


def write_masks(subject, paths, output, names, count):
    """Write two PNG files for each image into the folder `output`, and yield what they are.

    NAME.png has the number of the class of each pixel, with a palette (up to 256 classes; beyond, 16 bits), and
    NAME_overlay.png the image under the colours of the classes. Both have the size of the image. An image is an input
    at its own size (scaled where the run scales its test images), whole or by windows as in the run's evaluation, and
    without a margin, which an evaluation on images of several sizes needs.

    Yields {'image', 'labels', 'overlay': paths, 'classes': [{'class', 'label', 'share'}]}, the `count` classes with the
    largest shares of the pixels, their names from `names`. Raises ValueError
    for several images that would have one name, and for a file that would overwrite an image; `UnreadableImage`.
    """
    targets = output_files(paths, Path(output), ('.png', '_overlay.png'))
    Path(output).mkdir(parents=True, exist_ok=True)
    predict = _predictor(subject)
    for path, (labels, overlay), image in zip(paths, targets, read_images(paths, lambda image: image), strict=True):
        classes = predict(image)
        _as_png(classes, subject.task.num_outputs).save(labels)
        _blended(image, classes, subject.task.num_outputs).save(overlay)
        found = _largest(classes, names, count)
        yield {'image': str(path), 'labels': str(labels), 'overlay': str(overlay), 'classes': found}


def lines(mask):
    """What is printed of an image."""
    shares = [f'{100 * each["share"]:8.2f} %  {each["class"]}' for each in mask['classes']]
    return '\n'.join([f'{mask["image"]}: {mask["labels"]}, {mask["overlay"]}', *shares])


def _largest(classes, names, count):
    shares = np.bincount(classes.ravel(), minlength=len(names)) / classes.size
    order = [int(i) for i in np.argsort(-shares, kind='stable')[:count] if shares[i]]
    return [{'class': names[i], 'label': i, 'share': float(shares[i])} for i in order]


def _predictor(subject):
    """f(PIL image RGB) -> the class of each pixel (H, W); compiled once for every size of images."""
    task, variables = subject.task, jax.device_get(subject.variables)

    @jax.jit
    def logits(variables, pixels):
        return task.predict(subject.model, variables, {'image': pixels})

    def predict(image):
        size = image.height, image.width
        height, width = scaled_size(image.height, image.width, task.settings.images.resize)
        if (width, height) != image.size:
            image = scaled(image, width, height, task.facts.interpolation)
        found = logits(variables, np.asarray(image)[None])
        if (height, width) != size:
            found = resize_bilinear(found, size)
        return np.asarray(jnp.argmax(found[0], axis=-1))

    return predict


def _as_png(classes, num_classes):
    if num_classes > 256:
        return Image.fromarray(classes.astype(np.uint16))
    image = Image.fromarray(classes.astype(np.uint8))
    image.putpalette(palette(num_classes).tobytes())  # The mode becomes P; the pixels stay.
    return image


def _blended(image, classes, num_classes):
    colours = coloured(classes, num_classes).astype(np.float32)
    mixed = (1 - OPACITY) * np.asarray(image, np.float32) + OPACITY * colours
    return Image.fromarray(np.round(mixed).astype(np.uint8))
