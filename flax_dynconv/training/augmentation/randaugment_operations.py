"""The fifteen operations of RandAugment, with the range of each: level 0 is its start, level 1 its end."""

from flax_dynconv.training.augmentation._pil import Image, ImageEnhance, ImageOps

# What moves in from outside the image: a middle grey, so that it is no signal of its own after normalisation.
GREY = 128
_HALF_OF_LEVELS = 128


def _affine(image, matrix, resample):
    """(x, y) of the result is what was at (a x + b y + c, d x + e y + f), matrix = (a, b, c, d, e, f)."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=_grey(image))


def _grey(image):
    return (GREY,) * len(image.getbands())


def auto_contrast(image, level, sign, resample):
    """The darkest level of each channel becomes 0, its brightest 255; no range."""
    return ImageOps.autocontrast(image)


def equalize(image, level, sign, resample):
    """The histogram of each channel becomes flat; no range."""
    return ImageOps.equalize(image)


def invert(image, level, sign, resample):
    """255 - x; no range."""
    return ImageOps.invert(image)


def rotate(image, level, sign, resample):
    """By 0 to 30 degrees about the centre, either way."""
    return image.rotate(sign * 30 * level, resample, fillcolor=_grey(image))


def posterize(image, level, sign, resample):
    """The highest 4 down to 0 bits of each level are kept: 4 - floor(4 level); at level 0 four bits are lost too.

    Not by `ImageOps.posterize`, which since PIL 13 refuses to keep none.
    """
    kept = 4 - int(4 * level)
    return image.point([x >> (8 - kept) << (8 - kept) for x in range(256)] * len(image.getbands()))


def solarize(image, level, sign, resample):
    """Levels from a threshold on are inverted: 256 - floor(256 level)."""
    return ImageOps.solarize(image, 256 - int(256 * level))


def solarize_add(image, level, sign, resample):
    """floor(110 level) is added to levels below 128, up to 255."""
    added = int(110 * level)
    table = [min(255, x + added) if x < _HALF_OF_LEVELS else x for x in range(256)]
    return image.point(table * len(image.getbands()))


def color(image, level, sign, resample):
    """Saturation times 1 +- 0.9 level."""
    return ImageEnhance.Color(image).enhance(1 + sign * 0.9 * level)


def contrast(image, level, sign, resample):
    """Contrast about the mean luminance times 1 +- 0.9 level."""
    return ImageEnhance.Contrast(image).enhance(1 + sign * 0.9 * level)


def brightness(image, level, sign, resample):
    """Brightness times 1 +- 0.9 level."""
    return ImageEnhance.Brightness(image).enhance(1 + sign * 0.9 * level)


def sharpness(image, level, sign, resample):
    """The difference from a smoothed image times 1 +- 0.9 level."""
    return ImageEnhance.Sharpness(image).enhance(1 + sign * 0.9 * level)


def shear_x(image, level, sign, resample):
    """Rows shifted by 0 to 0.3 pixels per row, either way."""
    return _affine(image, (1, sign * 0.3 * level, 0, 0, 1, 0), resample)


def shear_y(image, level, sign, resample):
    """Columns shifted by 0 to 0.3 pixels per column, either way."""
    return _affine(image, (1, 0, 0, sign * 0.3 * level, 1, 0), resample)


def translate_x(image, level, sign, resample):
    """Shifted by 0 to 0.45 of the width, either way."""
    return _affine(image, (1, 0, sign * 0.45 * level * image.width, 0, 1, 0), resample)


def translate_y(image, level, sign, resample):
    """Shifted by 0 to 0.45 of the height, either way."""
    return _affine(image, (1, 0, 0, 0, 1, sign * 0.45 * level * image.height), resample)


OPERATIONS = (
    auto_contrast,
    equalize,
    invert,
    rotate,
    posterize,
    solarize,
    solarize_add,
    color,
    contrast,
    brightness,
    sharpness,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
