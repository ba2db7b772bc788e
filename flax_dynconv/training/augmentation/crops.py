"""Random crops: a part of random size and shape, scaled; and a shift within a black margin."""

import math

from flax_dynconv.training.augmentation._pil import scaled

ATTEMPTS = 10


def random_box(width, height, scale, ratio, generator):
    """(left, top, width, height) in whole pixels of a random part of an image of `width` x `height` pixels.

    area = width * height * U(scale), shape = exp(U(log ratio)), sides round(sqrt(area * shape)) and
    round(sqrt(area / shape)), anywhere in the image. Where they do not fit, again, up to ten times; then the largest
    central part with the nearest shape that `ratio` allows.

    >>> import numpy as np
    >>> random_box(500, 375, (1.0, 1.0), (4 / 3, 4 / 3), np.random.default_rng(0))
    (0, 0, 500, 375)

    Source: Szegedy et al., "Going deeper with convolutions" (CVPR 2015); the law is torchvision's
    `RandomResizedCrop`.
    """
    for _ in range(ATTEMPTS):
        area = width * height * generator.uniform(*scale)
        shape = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        across, down = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < across <= width and 0 < down <= height:
            left, top = generator.integers(width - across + 1), generator.integers(height - down + 1)
            return int(left), int(top), across, down
    # At least one pixel, which torchvision leaves to the image's own size.
    across = max(1, min(width, round(height * ratio[1])))
    down = max(1, min(height, round(width / ratio[0])))
    return (width - across) // 2, (height - down) // 2, across, down


def random_resized_crop(image, generator, size, scale, ratio, interpolation):
    """A part of the PIL `image`, by the law of `random_box`, scaled to `size` x `size` pixels.

    >>> import numpy as np
    >>> from PIL import Image
    >>> generator = np.random.default_rng(0)
    >>> random_resized_crop(Image.new('RGB', (50, 40)), generator, 24, (0.08, 1.0), (3 / 4, 4 / 3), 'bilinear').size
    (24, 24)
    """
    left, top, width, height = random_box(*image.size, scale, ratio, generator)
    # Cropped before it is scaled, as in torchvision: given a box, PIL's filters look past its edge.
    part = image.crop((left, top, left + width, top + height))
    return scaled(part, size, size, interpolation)


def padded_crop(image, generator, padding):
    """The PIL `image` shifted by up to `padding` pixels in each direction, evenly; black moves in.

    >>> import numpy as np
    >>> from PIL import Image
    >>> padded_crop(Image.new('RGB', (32, 32)), np.random.default_rng(0), 4).size
    (32, 32)

    Source: He et al., "Deep residual learning for image recognition" (CVPR 2016), section 4.2, for CIFAR-10.
    """
    left, top = (int(n) for n in generator.integers(-padding, padding + 1, 2))
    # PIL fills with zeros what a crop takes from outside the image.
    return image.crop((left, top, left + image.width, top + image.height))
