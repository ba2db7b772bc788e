"""The videos that `--data` names: drawn from digits, or recorded."""

from pathlib import Path

from flax_dynconv.training.data.array_files import SUFFIXES
from flax_dynconv.training.video.bouncing import Bouncing
from flax_dynconv.training.video.moving_digits import idx_digits, scikit_learn_digits
from flax_dynconv.training.video.recorded import read_videos

BOUNCING = 'bouncing'
# Pixels of the canvas where the settings do not say: for scikit-learn's digits, and for MNIST's.
CANVAS, IDX_CANVAS = 32, 64


def is_recorded(data):
    """Whether `data` names a file of videos, not of digits.

    >>> is_recorded('x.npz'), is_recorded(BOUNCING), is_recorded('mnist/')
    (True, False, False)
    """
    return data != BOUNCING and Path(data).suffix in SUFFIXES


def open_videos(settings):
    """The `Examples` of `settings.images.data`.

    'bouncing': digits of scikit-learn; a folder, or a file that is no array: digits of idx files; .npy or .npz: what
    was recorded. Raises FileNotFoundError and ValueError, with the name of the file, for what cannot be read, and
    ValueError for a canvas that is smaller than the digits or other than recorded.
    """
    data, frames = settings.images.data, settings.frames
    canvas, length = settings.images.image_size, frames.input_frames + frames.output_frames
    path = Path(data)
    if is_recorded(data):
        recorded = read_videos(path, length, settings.drawn.test_examples)
        size = recorded.arrays['test'].shape[2:]
        if canvas is not None and size != (canvas, canvas):
            raise ValueError(f'image_size must be that of the frames in {path}, {size}, or None, got {canvas}')
        return recorded
    if data != BOUNCING and not path.exists():
        raise FileNotFoundError(f"there is no file or folder {data}, and it is not '{BOUNCING}'")
    canvas = canvas or (CANVAS if data == BOUNCING else IDX_CANVAS)
    digits = scikit_learn_digits(canvas) if data == BOUNCING else idx_digits(path)
    if max(digits.train.shape[1:]) > canvas:
        raise ValueError(f'image_size must be at least that of the digits, {digits.train.shape[1:]}, got {canvas}')
    return Bouncing(
        digits,
        canvas,
        length,
        frames.moving_digits,
        frames.digit_step,
        settings.drawn.train_examples,
        settings.drawn.test_examples,
    )
