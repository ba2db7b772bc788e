"""What happens to an image in an evaluation: the shorter side to a given length, then the centre."""

import functools

from flax_dynconv.training.augmentation._pil import FILTERS, check_filter, check_image, check_sizes, pixels, scaled

# Beyond this ratio of the sides nearly all of the scaled image would be thrown away, and one bad file (1 x 30000
# pixels) could take the memory of a host.
_LONG = 16


def central_crop(image, size, resize, interpolation):
    """PIL `image` scaled until its shorter side has `resize` pixels, then the `size` x `size` pixels of its centre.

    The longer side is floor(resize * longer / shorter), the margins are round((side - size) / 2), halves to even.
    Where the longer side is more than 16 times the shorter one only the wanted part is scaled, which may differ by
    one level from that.

    >>> from PIL import Image
    >>> central_crop(Image.new('RGB', (500, 375)), 224, 256, 'bilinear').size
    (224, 224)

    Source: torchvision's Resize and CenterCrop of PIL images, with which it agrees exactly where PIL scales along the
    width first; PIL 13 does so for most shapes only.
    """
    width, height = image.size
    shorter = min(width, height)
    new_width, new_height = resize * width // shorter, resize * height // shorter
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    if max(width, height) <= _LONG * shorter:
        return scaled(image, new_width, new_height, interpolation).crop((left, top, left + size, top + size))
    across, down = width / new_width, height / new_height
    columns = (left * across, 0, min((left + size) * across, width), height)
    rows = (0, top * down, size, min((top + size) * down, height))
    narrow = image.resize((size, height), FILTERS[interpolation], box=columns)
    return narrow.resize((size, size), FILTERS[interpolation], box=rows)


def check_geometry(size, resize, interpolation):
    """ValueError unless `central_crop` can do that."""
    check_sizes(size=size, resize=resize)
    check_filter(interpolation)
    if size > resize:
        raise ValueError(f'size must be at most resize = {resize}, got {size}')


def evaluation_transform(size, resize, interpolation):
    """f(PIL image of the mode L or RGB) -> uint8 (size, size, C), C = 1 or 3: see `central_crop`. It can be pickled.

    `size` and `resize` in pixels, `size` <= `resize`; `interpolation` is 'bilinear' or 'bicubic'. f raises TypeError
    for what is no PIL image, ValueError for another mode.

    Raises ValueError for another size or interpolation.

    >>> from PIL import Image
    >>> transform = evaluation_transform(24, 32, 'bicubic')
    >>> transform(Image.new('L', (50, 40))).shape
    (24, 24, 1)

    Source: torchvision's evaluation transforms; `models.preprocess` does the same with JAX, to one level.
    """
    check_geometry(size, resize, interpolation)
    return functools.partial(_evaluate, size=size, resize=resize, interpolation=interpolation)


def _evaluate(image, *, size, resize, interpolation):
    check_image(image)
    return pixels(central_crop(image, size, resize, interpolation))
