"""Logits of a whole image from those of windows that slide over it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def window_starts(size, window, stride):
    """Where the windows along one axis of `size` pixels begin; they have `window` pixels, or `size` if that is less.

    Steps of `stride` from 0; the last window is shifted back, so that it ends with the image. Raises ValueError for a
    stride that would leave pixels out.

    >>> window_starts(10, 4, 3), window_starts(11, 4, 3), window_starts(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])

    Source: mmsegmentation's `EncoderDecoder.slide_inference`.
    """
    if not 1 <= stride <= window:
        raise ValueError(f'window_stride must be from 1 to the {window} pixels of the window, got {stride}')
    steps = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(step * stride + window, size) - window, 0) for step in range(steps)]


def sliding_windows(predict, image, window, stride):
    """y[b, i, j] = mean over the windows around pixel (i, j) of their logits there: (B, H, W, C), float32 or wider.

    Args:
        predict: f(part (B, h, w, channels)) -> logits (B, h, w, C), of the same height and width as the part.
        image: (B, H, W, channels).
        window: height and width of the windows, in pixels; along an axis where the image is smaller, the image's.
        stride: pixels from window to window, down and across, at most the window's; see `window_starts`.

    All shapes are static: the windows are steps of a loop of one compiled program. Raises ValueError for a stride that
    would leave pixels out, and for logits of another size than the window.

    >>> sliding_windows(lambda part: part * 2, jnp.ones((1, 5, 7, 1)), (4, 4), (2, 3)).shape
    (1, 5, 7, 1)

    Source: mmsegmentation's `EncoderDecoder.slide_inference`, before its softmax.
    """
    batch, height, width, channels = image.shape
    rows, columns = (window_starts(*axis) for axis in zip((height, width), window, stride, strict=True))
    h, w = min(window[0], height), min(window[1], width)
    starts = np.array([(row, column) for row in rows for column in columns], np.int32)
    count = np.zeros((height, width), np.float32)
    for row, column in starts:
        count[row : row + h, column : column + w] += 1
    shape = jax.eval_shape(predict, jax.ShapeDtypeStruct((batch, h, w, channels), image.dtype))
    if shape.shape[:-1] != (batch, h, w):
        raise ValueError(f'predict must give logits of the size of a window, {(batch, h, w)}, got {shape.shape}')
    dtype = jnp.promote_types(shape.dtype, jnp.float32)

    def add(total, start):
        part = lax.dynamic_slice(image, (0, start[0], start[1], 0), (batch, h, w, channels))
        place = (0, start[0], start[1], 0)
        there = lax.dynamic_slice(total, place, shape.shape)
        return lax.dynamic_update_slice(total, there + predict(part).astype(dtype), place), None

    total, _ = lax.scan(add, jnp.zeros((batch, height, width, shape.shape[-1]), dtype), starts)
    return total / jnp.asarray(count, dtype)[None, :, :, None]
