"""Brightness, contrast and saturation changed by random factors, in random order."""

from flax_dynconv.training.augmentation._pil import ImageEnhance

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def color_jitter(image, generator, strength):
    """The PIL `image` with brightness, contrast and saturation times U(max(0, 1 - strength), 1 + strength) each.

    y = clip(grey + factor (x - grey)), with grey = black for the brightness, the mean luminance for the contrast and
    the pixel's own luminance for the saturation; levels are truncated. The three follow one another in random order;
    a factor of 1 changes nothing.

    >>> import numpy as np
    >>> from PIL import Image
    >>> color_jitter(Image.new('RGB', (8, 6), (90, 60, 30)), np.random.default_rng(0), 0.4).size
    (8, 6)

    Source: Krizhevsky et al. (2012) in the form of torchvision's `ColorJitter`, without its change of hue.
    """
    if not strength:
        return image
    factors = generator.uniform(max(0.0, 1 - strength), 1 + strength, len(_ENHANCERS))
    for which in generator.permutation(len(_ENHANCERS)):
        image = _ENHANCERS[which](image).enhance(float(factors[which]))
    return image
