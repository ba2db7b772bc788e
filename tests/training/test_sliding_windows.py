"""Sliding windows against a loop in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.training.sliding_windows import sliding_windows, window_starts
from tests.compiled.programs import collectives
from tests.tolerances import assert_close


def predict(part):
    """Logits that depend on the whole window, so that windows disagree where they overlap."""
    mean = part.mean(axis=(1, 2), keepdims=True)
    rows = jnp.arange(part.shape[1], dtype=part.dtype)[None, :, None, None]
    return jnp.concatenate([part * mean, part + 0.1 * rows], axis=-1)


def loop(image, window, stride):
    """mmsegmentation's loop, in float64."""
    batch, height, width, channels = image.shape
    (h, w), (down, across) = window, stride
    total, count = np.zeros((batch, height, width, 2 * channels)), np.zeros((height, width))
    for i in range(max(height - h + down - 1, 0) // down + 1):
        for j in range(max(width - w + across - 1, 0) // across + 1):
            bottom, right = min(i * down + h, height), min(j * across + w, width)
            top, left = max(bottom - h, 0), max(right - w, 0)
            part = image[:, top:bottom, left:right].astype(np.float64)
            mean = part.mean(axis=(1, 2), keepdims=True)
            logits = np.concatenate([part * mean, part + 0.1 * np.arange(part.shape[1])[None, :, None, None]], axis=-1)
            total[:, top:bottom, left:right] += logits
            count[top:bottom, left:right] += 1
    assert count.min() >= 1
    return total / count[None, :, :, None]


CASES = [
    ((9, 11), (4, 5), (3, 2)),  # the last windows are shifted
    ((8, 9), (4, 3), (4, 3)),  # no overlap
    ((10, 4), (4, 6), (2, 5)),  # narrower than the window
    ((3, 4), (5, 6), (3, 3)),  # smaller than the window: one
    ((7, 7), (7, 7), (7, 7)),  # one window
]


@pytest.mark.parametrize(('size', 'window', 'stride'), CASES)
def test_windows_are_averaged_as_in_the_loop(size, window, stride):
    image = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
    found = jax.jit(lambda x: sliding_windows(predict, x, window, stride))(image)
    assert_close(found, loop(image, window, stride))


def test_narrow_logits_are_summed_in_float32():
    image = jnp.full((1, 9, 9, 1), 1 + 1 / 128, jnp.bfloat16)
    found = sliding_windows(lambda part: part, image, (4, 4), (1, 1))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.full((1, 9, 9, 1), 1 + 1 / 128, np.float32))


def test_images_stay_on_their_devices():
    image = np.random.default_rng(0).standard_normal((8, 9, 11, 3)).astype(np.float32)
    split = NamedSharding(jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,)), P('data'))
    function = jax.jit(lambda x: sliding_windows(predict, x, (4, 5), (3, 2)), in_shardings=split, out_shardings=split)
    compiled = function.lower(image).compile()
    assert collectives(compiled) == {}
    assert_close(compiled(jax.device_put(image, split)), loop(image, (4, 5), (3, 2)))


@pytest.mark.parametrize('size', range(1, 20))
@pytest.mark.parametrize('stride', [1, 2, 3, 4])
def test_every_pixel_is_in_a_window(size, stride):
    starts = window_starts(size, 4, stride)
    seen = {pixel for start in starts for pixel in range(start, min(start + 4, size))}
    assert seen == set(range(size))
    assert starts == sorted(set(starts)) and starts[0] == 0


def test_mistakes_are_named():
    image = jnp.ones((1, 9, 9, 1))
    with pytest.raises(ValueError, match=r'window_stride must be from 1 to the 4 pixels of the window, got 5'):
        sliding_windows(predict, image, (4, 4), (5, 4))
    with pytest.raises(ValueError, match=r'predict must give logits of the size of a window, \(1, 4, 4\), got \(1, 2'):
        sliding_windows(lambda part: part[:, ::2, ::2], image, (4, 4), (2, 2))
