"""mixup and CutMix: two images become two mixtures, each with a share of both labels."""

import math

import numpy as np


def mixup(first, second, generator, alpha):
    """(mixture of the first, mixture of the second, share): lambda x + (1 - lambda) y and the reverse, rounded.

    lambda ~ Beta(alpha, alpha) is the share. Images of uint8, of one shape; the result too.

    >>> white = np.full((4, 4, 3), 255, np.uint8)
    >>> x, y, share = mixup(white, 0 * white, np.random.default_rng(0), 1.0)
    >>> bool(x[0, 0, 0] == round(255 * share)), int(x[0, 0, 0]) + int(y[0, 0, 0])
    (True, 255)

    Source: Zhang et al., "mixup: beyond empirical risk minimization" (ICLR 2018).
    """
    share = generator.beta(alpha, alpha)
    x, y = first.astype(np.float32), second.astype(np.float32)
    own, other = np.float32(share), np.float32(1 - share)
    return np.rint(own * x + other * y).astype(np.uint8), np.rint(own * y + other * x).astype(np.uint8), share


def cut_box(height, width, share, generator):
    """(top, bottom, left, right) of CutMix: sides floor(side * sqrt(1 - share)), a centre anywhere, cut at the edges.

    >>> cut_box(10, 10, 0.0, np.random.default_rng(0))[2:]
    (1, 10)
    """
    bounds = []
    for side in (height, width):
        length = int(side * math.sqrt(1 - share))
        start = int(generator.integers(side)) - length // 2
        bounds += [max(start, 0), min(start + length, side)]
    return tuple(bounds)


def cutmix(first, second, generator, alpha):
    """(first with a box of the second, second with the same box of the first, share of the image outside the box).

    The box is that of `cut_box` for Beta(alpha, alpha), the share the exact one.

    >>> white = np.full((4, 4, 3), 255, np.uint8)
    >>> x, y, share = cutmix(white, 0 * white, np.random.default_rng(0), 1.0)
    >>> bool(x.mean() == 255 * share), bool((x + y == 255).all())
    (True, True)

    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features"
    (ICCV 2019).
    """
    height, width = first.shape[:2]
    top, bottom, left, right = cut_box(height, width, generator.beta(alpha, alpha), generator)
    x, y = first.copy(), second.copy()
    x[top:bottom, left:right] = second[top:bottom, left:right]
    y[top:bottom, left:right] = first[top:bottom, left:right]
    return x, y, 1 - (bottom - top) * (right - left) / (height * width)


def mix(images, labels, generators, augmentation):
    """mixup or CutMix of the rows 2j and 2j + 1, for each j with its own generator.

    `images` (N, H, W, C) uint8, `labels` (N,) integers, `generators` N / 2 of `np.random.Generator`, `augmentation`
    gives `mixup` and `cutmix` (each alpha, 0: off) and `mixing_probability`. With both on a pair gets one or the
    other, evenly. Returns the batch's entries image (N, H, W, C) uint8, label and other_label (N,) int32 and share
    (N,) float32: of `label`; the rest is `other_label`'s, the partner's. The share of an unmixed row is 1.

    A pair's result depends on its rows and generator only. Raises ValueError for an odd number of rows and for other
    shapes or numbers, TypeError for another dtype.

    >>> from flax_dynconv.training.settings import Augmentation
    >>> batch = mix(np.zeros((2, 8, 8, 3), np.uint8), np.array([3, 5]), [np.random.default_rng(0)], Augmentation())
    >>> batch['label'].tolist(), batch['other_label'].tolist(), batch['share'].tolist()
    ([3, 5], [5, 3], [1.0, 1.0])
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check(images, labels, generators)
    mixed, shares = np.empty_like(images), np.ones(len(images), np.float32)
    for row, generator in zip(range(0, len(images), 2), generators, strict=True):
        mixed[row], mixed[row + 1], share = _mix_pair(images[row], images[row + 1], generator, augmentation)
        shares[row : row + 2] = share
    partners = labels.reshape(-1, 2)[:, ::-1].reshape(-1)
    return {
        'image': mixed,
        'label': labels.astype(np.int32),
        'other_label': partners.astype(np.int32),
        'share': shares,
    }


def _mix_pair(first, second, generator, augmentation):
    ways = [way for way in ((mixup, augmentation.mixup), (cutmix, augmentation.cutmix)) if way[1]]
    if not ways or generator.random() >= augmentation.mixing_probability:
        return first, second, 1.0
    way, alpha = ways[generator.integers(len(ways))]
    return way(first, second, generator, alpha)


def _check(images, labels, generators):
    if images.dtype != np.uint8:
        raise TypeError(f'images must be uint8, got {images.dtype}')
    if images.ndim != 4 or len(images) % 2:
        raise ValueError(f'images must have shape (N, H, W, C) with an even N, for pairs, got {images.shape}')
    if labels.shape != images.shape[:1]:
        raise ValueError(f'labels must have shape ({len(images)},), one for each image, got {labels.shape}')
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f'labels must be integers, got {labels.dtype}')
    if len(generators) != len(images) // 2:
        raise ValueError(f'generators must be {len(images) // 2}, one for each pair, got {len(generators)}')
