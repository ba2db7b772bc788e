"""Classes of pixels out of instances, for the auxiliary loss of the mask branch; numpy, on the host."""

import numpy as np


def semantic_target(masks, classes, stride=8):
    """1 + class of the instance of the smallest area at every `stride`-th pixel, 0 at none: int32 (H/stride, W/stride).

    masks (N, H, W) 0 or 1 are those of an image at full resolution, N >= 0; classes (N,) integers >= 0. Pixels are
    taken from stride // 2 on, [4::8, 4::8]; areas count all pixels. Of equal areas the first instance wins.

    Raises ValueError for shapes that do not fit.

    >>> masks = np.zeros((2, 8, 16), bool)
    >>> masks[0], masks[1, :, 8:] = True, True
    >>> semantic_target(masks, np.array([4, 2])).tolist()
    [[5, 3]]

    Source: Tian et al., "CondInst" (ECCV 2020), as in AdelaiDet's `MaskBranch`.
    """
    masks, classes = np.asarray(masks), np.asarray(classes)
    if masks.ndim != 3 or classes.shape != masks.shape[:1]:
        raise ValueError(
            f'masks and classes must have the shapes (N, H, W) and (N,), got {masks.shape}, {classes.shape}'
        )
    start = stride // 2
    sampled = masks[:, start::stride, start::stride] != 0
    target = np.zeros(sampled.shape[1:], np.int32)
    # From the largest to the smallest, of equal ones the first last: later ones lie on top.
    areas = np.count_nonzero(masks, axis=(1, 2))
    for instance in np.argsort(areas, kind='stable')[::-1]:
        target[sampled[instance]] = classes[instance] + 1
    return target
