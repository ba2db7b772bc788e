"""`flax-dynconv predict --run RUN IMAGE... --depth PATH --output DIR`: what is salient, as PNG files."""

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from flax_dynconv.commands.output_files import output_files
from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.listing import is_image
from flax_dynconv.training.data.scene_decoding import decode_depth
from flax_dynconv.training.saliency.predictions import quantised, resized


def write_maps(subject, paths, depth, output):
    """Write NAME.png for each image into the folder `output`, and yield {'image', 'depth', 'map': paths, 'share'}.

    The map is grey, of 8 bits and the size of the image: floor(255 p) of the probabilities p at the size of an input,
    scaled by the nearest pixel, as an evaluation judges it. 'share' is how much of it is above one half. `depth` is
    what `depth_of` takes.

    Raises ValueError for several images of one name, for depth of another size than its image and for a file that would
    overwrite an image or depth, `UnreadableImage`, and what `depth_of` raises.
    """
    output, depths = Path(output), depth_of(paths, depth)
    targets = output_files(paths, output, ('.png',), given=depths)
    output.mkdir(parents=True, exist_ok=True)
    task, variables = subject.task, jax.device_get(subject.variables)
    predict = jax.jit(
        lambda variables, batch: jax.nn.sigmoid(task.predict(subject.model, variables, batch).logits)[0, ..., 0]
    )
    for path, behind, (target,) in zip(paths, depths, targets, strict=True):
        image, depth = decode(path.read_bytes(), str(path)), decode_depth(behind.read_bytes(), str(behind))
        if image.size != depth.size:
            raise ValueError(
                f'{behind} must have the size of its image {path}, {image.width} x {image.height} pixels, '
                f'got {depth.width} x {depth.height}'
            )
        size = image.height, image.width
        arrays = task.evaluation_transform(image, depth, np.zeros(size, bool))
        levels = resized(quantised(predict(variables, {name: array[None] for name, array in arrays.items()})), size)
        Image.fromarray(levels).save(target)
        share = float(np.mean(levels > 127))
        yield {'image': str(path), 'depth': str(behind), 'map': str(target), 'share': share}


def depth_of(paths, depth):
    """The file with the depth of each image: `depth` itself, or of a folder the one of the image's name but the ending.

    Raises ValueError for a file and several images, and for a folder with several such files; FileNotFoundError where
    there is none.
    """
    depth = Path(depth)
    if depth.is_dir():
        files = sorted(path for path in depth.iterdir() if is_image(path.name))
        return [_only([file for file in files if file.stem == path.stem], path, depth) for path in paths]
    if not depth.exists():
        raise FileNotFoundError(f'--depth: there is no file or folder {depth}')
    if len(paths) > 1:
        raise ValueError(f'--depth must be a folder with the depth of all {len(paths)} images, got the file {depth}')
    return [depth]


def line(written):
    """What is printed of an image."""
    return f'{written["image"]}: {written["map"]}, {100 * written["share"]:.2f} % salient'


def _only(found, path, depth):
    if not found:
        raise FileNotFoundError(f'--depth: there is no depth in {depth} for {path}')
    if len(found) > 1:
        raise ValueError(f'--depth: names must differ in more than the ending, got {found[0]} and {found[1]}')
    return found[0]
