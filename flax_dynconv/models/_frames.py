"""Small pure functions of the frame predictors: windows of frames, the first state, doubling the size."""

import jax
import jax.numpy as jnp

WINDOW, SEQUENCE = '(B, H, W, buffer_len * C)', '(B, T, H, W, C)'


def check_frames(frames: jax.Array, layout: str, channels: int, image_size) -> None:
    """Refuse frames that are not of the layout, with so many channels, of an even size; ValueError."""
    rank = len(layout.split(','))
    if frames.ndim != rank:
        raise ValueError(f'frames: expected {rank} dimensions {layout}, got shape {frames.shape}')
    if frames.shape[-1] != channels:
        raise ValueError(f'frames: expected {channels} channels {layout}, got shape {frames.shape}')
    size = frames.shape[-3:-1]
    if image_size is not None and size != tuple(image_size):
        raise ValueError(f'frames: expected the size image_size = {tuple(image_size)}, got {size}')
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f'frames: expected an even height and width, got {size}')


def window(frames: jax.Array) -> jax.Array:
    """(B, T, H, W, C) as (B, H, W, T * C), the oldest frame first."""
    return jnp.concatenate([frames[:, i] for i in range(frames.shape[1])], axis=-1)


def push(frames: jax.Array, frame: jax.Array) -> jax.Array:
    """A window (B, H, W, n * C) without its oldest frame and with a new one (B, H, W, C)."""
    return jnp.concatenate([frames[..., frame.shape[-1] :], frame], axis=-1)


def no_state(frames: jax.Array, features: int) -> jax.Array:
    """The state before the first step: zeros (B, H/2, W/2, features), for frames (B, H, W, C)."""
    # Made from the frames, so that it is divided over devices as they are: a scan may not change that.
    zeros = jnp.zeros_like(frames[:, ::2, ::2, :1])
    return jnp.broadcast_to(zeros, (*zeros.shape[:-1], features))


def doubled(x: jax.Array) -> jax.Array:
    """Every pixel of (B, H, W, C) four times: (B, 2H, 2W, C)."""
    for axis in (1, 2):  # one after the other: a reshape of both at once is refused where a mesh axis is Explicit
        x = jnp.repeat(x, 2, axis=axis)
    return x
