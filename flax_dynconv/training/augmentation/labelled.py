"""What happens to an image and the classes of its pixels, together: scale, crop, mirror image and margin."""

import dataclasses

import numpy as np

from flax_dynconv.training.augmentation._pil import Image, check_filter, check_image, pixels, scaled
from flax_dynconv.training.augmentation.color_jitter import color_jitter

# Random places that are looked at for a crop in which no class has too large a share.
ATTEMPTS = 10


def scaled_size(height, width, resize=None, factor=1.0):
    """(height, width) of an image after its shorter side became `resize` pixels (None: as it is), times `factor`.

    >>> scaled_size(375, 500, resize=256), scaled_size(100, 50, factor=0.5)
    ((256, 341), (50, 25))
    """
    factor *= 1 if resize is None else resize / min(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resized(image, labels, size, interpolation):
    """The PIL `image` scaled by PIL's filter, `labels` (H, W) int32 by the nearest pixel, to `size` (height, width)."""
    if size == labels.shape:
        return image, labels
    height, width = size
    labels = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    return scaled(image, width, height, interpolation), np.asarray(labels, np.int32)


def with_margin(image, labels, size, fill, ignore_label):
    """Arrays of the PIL `image` and `labels` with pixels of the colour `fill`, ignored, below and to the right."""
    height, width = size
    grown = np.full((height, width, len(fill)), fill, np.uint8)
    grown[: labels.shape[0], : labels.shape[1]] = pixels(image)
    grown_labels = np.full((height, width), ignore_label, np.int32)
    grown_labels[: labels.shape[0], : labels.shape[1]] = labels
    return grown, grown_labels


@dataclasses.dataclass(frozen=True)
class LabelledTraining:
    """f(PIL image RGB, labels (H, W) int32, generator) -> image (h, w, 3) uint8 and labels (h, w) int32, `crop` large.

    1. Scaled by U(scale_range), after the shorter side became `resize` if that is given.
    2. A random crop; where one class has `share` or more of its labelled pixels, or all of them, another, up to ten.
    3. With probability `flip` the mirror image.
    4. `color_jitter` of the image.
    5. Where the image is smaller than the crop, pixels of the colour `fill`, which are ignored.

    >>> transform = LabelledTraining((4, 6), (0.5, 2.0), 0.75, 0.5, 0.0, None, 'bilinear', (124, 116, 104), 255)
    >>> image, labels = transform(Image.new('RGB', (8, 8)), np.zeros((8, 8), np.int32), np.random.default_rng(0))
    >>> image.shape, labels.shape
    ((4, 6, 3), (4, 6))

    Source: mmsegmentation's RandomResize, RandomCrop (cat_max_ratio) and RandomFlip. Its images are scaled without
    PIL's antialiasing; its PhotoMetricDistortion also changes the hue.
    """

    crop: tuple[int, int]
    scale_range: tuple[float, float]
    share: float
    flip: float
    color_jitter: float
    resize: int | None
    interpolation: str
    fill: tuple[int, int, int]
    ignore_label: int

    def __post_init__(self):
        check_filter(self.interpolation)

    def __call__(self, image, labels, generator):
        """As the class says."""
        check_image(image)
        factor = generator.uniform(*self.scale_range)
        size = scaled_size(*labels.shape, self.resize, factor)
        image, labels = resized(image, labels, size, self.interpolation)
        top, left = self._place(labels, generator)
        labels = labels[top : top + self.crop[0], left : left + self.crop[1]]
        image = image.crop((left, top, left + labels.shape[1], top + labels.shape[0]))
        if generator.random() < self.flip:
            image, labels = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), labels[:, ::-1]
        image = color_jitter(image, generator, self.color_jitter)
        return with_margin(image, labels, self.crop, self.fill, self.ignore_label)

    def _place(self, labels, generator):
        margins = [max(0, side - crop) for side, crop in zip(labels.shape, self.crop, strict=True)]
        for _ in range(ATTEMPTS if any(margins) else 1):
            top, left = (int(generator.integers(margin + 1)) for margin in margins)
            if self.share >= 1:
                break
            part = labels[top : top + self.crop[0], left : left + self.crop[1]]
            _, counts = np.unique(part[part != self.ignore_label], return_counts=True)
            if len(counts) > 1 and counts.max() < self.share * counts.sum():
                break
        return top, left


@dataclasses.dataclass(frozen=True)
class LabelledEvaluation:
    """f(PIL image RGB, labels (H, W) int32) -> image (h, w, 3) uint8 and labels (h, w) int32, `canvas` large.

    Scaled where `resize` is given, and never cropped: what is missing to the canvas is filled up with pixels of the
    colour `fill`, which are ignored. Every pixel of the (scaled) labels is there once.
    """

    canvas: tuple[int, int]
    resize: int | None
    interpolation: str
    fill: tuple[int, int, int]
    ignore_label: int

    def __post_init__(self):
        check_filter(self.interpolation)

    def __call__(self, image, labels):
        """As the class says."""
        check_image(image)
        image, labels = resized(image, labels, scaled_size(*labels.shape, self.resize), self.interpolation)
        return with_margin(image, labels, self.canvas, self.fill, self.ignore_label)
