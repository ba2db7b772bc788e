"""A colour for each class of pixels."""

import colorsys

import numpy as np

IGNORED = (255, 255, 255)


def palette(num_classes):
    """Colours (num_classes, 3) uint8, of red, green and blue: black, then hues that are far from those before them.

    Hues turn by the golden ratio; brightness and saturation change with them, so that 150 classes still differ.

    >>> colours = palette(150)
    >>> colours[0].tolist(), len({tuple(colour) for colour in colours.tolist()})
    ([0, 0, 0], 150)
    """
    colours = [(0, 0, 0)]
    for number in range(num_classes - 1):
        hue = (number * 0.618034) % 1
        saturation, brightness = (0.9, 0.65, 0.4)[number // 8 % 3], (0.95, 0.6, 0.8, 0.45)[number // 4 % 4]
        colours.append(tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, brightness)))
    return np.array(colours[:num_classes], np.uint8)


def coloured(labels, num_classes):
    """labels (H, W) as colours (H, W, 3) uint8; white what is no class.

    >>> coloured(np.array([[0, 255]]), 2).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    labels = np.asarray(labels)
    table = np.concatenate([palette(num_classes), np.array([IGNORED], np.uint8)])
    return table[np.where((labels >= 0) & (labels < num_classes), labels, num_classes)]
