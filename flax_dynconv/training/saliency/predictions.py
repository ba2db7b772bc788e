"""From a network's probabilities and a mask's grey values to the pair of arrays that saliency is judged by."""

import numpy as np

from flax_dynconv.training.extras import require


def quantised(probabilities):
    """floor(255 p) as uint8, which is what a PNG of a prediction holds; of any shape.

    Computed in float32, or wider if p is. Raises ValueError for values outside of [0, 1], NaN among them.

    >>> quantised(np.array([0.0, 0.5, 0.999, 1.0])).tolist()
    [0, 127, 254, 255]

    Source: torchvision's `ToPILImage`, which lartpang/HDFNet's evaluation uses.
    """
    p = np.asarray(probabilities)
    p = p.astype(np.promote_types(p.dtype, np.float32)) if p.dtype.kind == 'f' else p.astype(np.float32)
    check_range('probabilities', p)
    return (p * 255).astype(np.uint8)


def resized(image, size):
    """The nearest pixel of `image` (H, W) uint8 for each pixel of an image of `size` (height, width).

    >>> resized(np.array([[0, 255]], np.uint8), (2, 4)).tolist()
    [[0, 0, 255, 255], [0, 0, 255, 255]]

    Source: Pillow's `NEAREST`, which lartpang/HDFNet's evaluation uses. Raises ImportError without Pillow.
    """
    library = require('PIL.Image', 'resizes predictions')
    height, width = size
    return np.asarray(library.fromarray(image).resize((width, height), library.Resampling.NEAREST))


def normalised(image):
    """(x - min) / (max - min) of an image (H, W) uint8, float64; x / 255 where all pixels are the same.

    >>> normalised(np.array([[10, 60, 110]], np.uint8)).tolist()
    [[0.0, 0.5, 1.0]]

    Source: lartpang/HDFNet's evaluation.
    """
    low, high = int(np.min(image)), int(np.max(image))
    return image / 255 if low == high else (image - np.float64(low)) / (high - low)


def foreground(grey):
    """True where a mask (H, W), numbers >= 0 of any range, is above half of its largest value; all False if that is 0.

    >>> foreground(np.array([[0, 100, 128, 255]], np.uint8)).tolist()
    [[False, False, True, True]]

    Source: lartpang/HDFNet's evaluation.
    """
    grey = np.asarray(grey, np.float64)
    return grey / (grey.max() + 1e-8) > 0.5


def judged(probabilities, size):
    """The prediction (H, W) as it is judged beside a mask of `size`: quantised, resized, normalised; float64 in [0, 1].

    >>> judged(np.array([[0.25, 0.75]], np.float32), (1, 4)).tolist()
    [[0.0, 0.0, 1.0, 1.0]]

    Source: lartpang/HDFNet's evaluation.
    """
    return normalised(resized(quantised(probabilities), size))


def check_range(name, values):
    """ValueError unless all values are from 0 to 1."""
    if values.size and not (np.min(values) >= 0 and np.max(values) <= 1):
        raise ValueError(f'{name} must be from 0 to 1, got values from {np.min(values)} to {np.max(values)}')


def checked(predicted, mask):
    """Both as float64 and bool, after checks: what every measure begins with.

    Raises ValueError for shapes other than the same (H, W) with a pixel at least, for predictions outside of [0, 1] and
    for masks that are not 0 or 1.
    """
    predicted, mask = np.asarray(predicted, np.float64), np.asarray(mask)
    if predicted.ndim != 2 or predicted.shape != mask.shape or not mask.size:
        raise ValueError(f'predicted and mask must have the same shape (H, W), got {predicted.shape} and {mask.shape}')
    check_range('predicted', predicted)
    if mask.dtype != bool:
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError(f'mask must be 0 or 1, got values from {mask.min()} to {mask.max()}')
        mask = mask == 1
    return predicted, mask
