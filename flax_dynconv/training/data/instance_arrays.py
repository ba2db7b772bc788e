"""The objects of one image as arrays of fixed shapes: the entries of a batch, without their first axis."""

import numpy as np

from flax_dynconv.training.instances.center_of_mass import center_of_mass

# Canvases are divided by the strides of the maps that are added up; masks and classes are for every 4th and 8th pixel.
MULTIPLE, MASK_STRIDE, SEMANTIC_STRIDE = 32, 4, 8


def check_canvas(canvas):
    """ValueError unless height and width are multiples of 32.

    >>> check_canvas((64, 96))
    """
    if len(canvas) != 2 or any(side < MULTIPLE or side % MULTIPLE for side in canvas):
        raise ValueError(f'canvas must be a height and a width that {MULTIPLE} divides, got {canvas}')


def blank_arrays(canvas, slots):
    """The arrays of a black image without objects, as large as the canvas (H, W), with `slots` M for objects.

    | entry | shape, dtype | what it is |
    |---|---|---|
    | image | (H, W, 3) uint8 | red, green, blue |
    | size | (2,) int32 | height and width of the image within the canvas |
    | bottom | () int32 | last rows of these whose colours BoxInst does not compare |
    | boxes | (M, 4) float32 | x0, y0, x1, y1 in pixels of the canvas |
    | classes | (M,) int32 | from 0 |
    | valid | (M,) bool | whether there is an object |
    | centers | (M, 2) float32 | centre of mass of the whole mask: means of x and y of its pixels' indices |
    | masks | (M, H/4, W/4) uint8 | pixels [2::4, 2::4] of the whole mask, 0 or 1 |
    | semantic | (H/8, W/8) int32 | of pixels [4::8, 4::8]: 0, or 1 + the class of the smallest object there |

    >>> blank_arrays((32, 64), 5)['semantic'].shape
    (4, 8)
    """
    height, width = canvas
    return {
        'image': np.zeros((height, width, 3), np.uint8),
        'size': np.array(canvas, np.int32),
        'bottom': np.zeros((), np.int32),
        'boxes': np.zeros((slots, 4), np.float32),
        'classes': np.zeros(slots, np.int32),
        'valid': np.zeros(slots, bool),
        'centers': np.zeros((slots, 2), np.float32),
        'masks': np.zeros((slots, height // MASK_STRIDE, width // MASK_STRIDE), np.uint8),
        'semantic': np.zeros((height // SEMANTIC_STRIDE, width // SEMANTIC_STRIDE), np.int32),
    }


def instance_arrays(instances, size, canvas, slots, flipped=False):
    """The entries of `blank_arrays` for `instances` of an image that was scaled to `size`, then flipped.

    All but the image and `bottom`, which say nothing of objects.

    Boxes are those of the data, scaled and cut at the edge of the image. Crowds are left out, and objects of which
    scaling leaves no pixel. Of more objects than `slots` those with the most pixels are kept, in their order; the
    semantic classes know all.

    >>> from flax_dynconv.training.data.instances import Bitmap, Instance
    >>> square = Instance(2, (0.0, 0.0, 4.0, 4.0), Bitmap(np.ones((4, 8), bool)), 32.0)
    >>> arrays = instance_arrays([square], (16, 32), (32, 32), 2, flipped=True)
    >>> arrays['boxes'].tolist(), arrays['centers'][0].tolist()
    ([[16.0, 0.0, 32.0, 16.0], [0.0, 0.0, 0.0, 0.0]], [15.5, 7.5])

    Source: detectron2's boxes; AdelaiDet's masks, centres (`compute_targets_for_locations`) and semantic targets.
    """
    arrays = blank_arrays(canvas, slots)
    del arrays['image'], arrays['bottom']
    arrays['size'][:] = size
    least, found = np.full(arrays['semantic'].shape, np.inf), []
    for instance in instances:
        if instance.crowd:
            continue
        mask, box = instance.outline.at(*size), _scaled_box(instance, size)
        if flipped:
            mask, box = mask[:, ::-1], (size[1] - box[2], box[1], size[1] - box[0], box[3])
        pixels = int(np.count_nonzero(mask))
        if not pixels or box[2] <= box[0] or box[3] <= box[1]:
            continue
        smaller = _sampled(mask, SEMANTIC_STRIDE, canvas) & (pixels < least)
        least[smaller], arrays['semantic'][smaller] = pixels, 1 + instance.label
        found.append((pixels, instance.label, box, center_of_mass(mask), _sampled(mask, MASK_STRIDE, canvas)))
    largest = sorted(range(len(found)), key=lambda i: -found[i][0])[:slots]
    for slot, i in enumerate(sorted(largest)):
        arrays['valid'][slot] = True
        for name, value in zip(('classes', 'boxes', 'centers', 'masks'), found[i][1:], strict=True):
            arrays[name][slot] = value
    return arrays


def image_on_canvas(image, place):
    """The PIL image in the upper left corner of `place.canvas`, the rest `place.fill`: (H, W, 3) uint8."""
    canvas = np.empty((*place.canvas, len(place.fill)), np.uint8)
    canvas[:] = np.array(place.fill, np.uint8)[None, None, :]
    canvas[: image.height, : image.width] = np.asarray(image)
    return canvas


def _scaled_box(instance, size):
    down, across = (new / old for new, old in zip(size, instance.outline.size, strict=True))
    x0, y0, x1, y1 = instance.box
    x0, x1 = (min(max(x * across, 0.0), float(size[1])) for x in (x0, x1))
    y0, y1 = (min(max(y * down, 0.0), float(size[0])) for y in (y0, y1))
    return x0, y0, x1, y1


def _sampled(mask, stride, canvas):
    """Pixels [stride // 2 :: stride] of the mask on the canvas."""
    part = mask[stride // 2 :: stride, stride // 2 :: stride]
    whole = np.zeros((canvas[0] // stride, canvas[1] // stride), bool)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole
