"""The fields that a frame predictor can have, and the state that belongs to its frames."""

from collections.abc import Sequence

from flax_dynconv.models._filter_fields import square, widened
from flax_dynconv.ops._checks import are_ints, check_ints, check_shape, is_int

STATE = '(B, H/2, W/2, S)'
# Channels of convolutions, and how many there must be: the second of the encoder halves the size, the first of
# `upsampled` is where it is doubled.
_LEAST = {'encoder': 2, 'decoder': 0, 'upsampled': 1}


def check_fields(model) -> None:
    """Refuse the fields of a `FramePredictor` that are out of their range; ValueError names the field."""
    names = ('output_frames', 'channels', 'buffer_len', 'state', 'head')
    check_ints(**{name: getattr(model, name) for name in names})
    for name, least in _LEAST.items():
        value = getattr(model, name)
        if not are_ints(value) or len(value) < least:
            number = f', at least {least} of them' if least else ''
            raise ValueError(f'{name}: expected a sequence of ints >= 1{number}, got {value!r}')
    widened((), model.width)
    square(model.filter_size)
    size = model.image_size
    if size is not None and (not are_ints(size) or len(size) != 2 or any(n % 2 for n in size)):
        raise ValueError(f'image_size: expected two even ints >= 2 (H, W) or None, got {size!r}')
    if not isinstance(model.unroll, bool) and (not is_int(model.unroll) or model.unroll < 1):
        raise ValueError(f'unroll: expected an int >= 1 or a bool, got {model.unroll!r}')
    places = (*(f'enc_{i}' for i in range(len(model.encoder))), 'mid')
    if not isinstance(model.untied, Sequence) or any(name not in places for name in model.untied):
        raise ValueError(f'untied: expected names among {places}, got {model.untied!r}')


def check_state(state, frames, recurrent: bool, features: int) -> None:
    """Refuse a state that is not that of frames (B, H, W, C): nothing may be broadcast against it."""
    if not recurrent:
        raise ValueError(f'state: expected None where recurrent=False, got shape {state.shape}')
    batch, height, width = frames.shape[:3]
    check_shape('state', state, (batch, height // 2, width // 2, features), STATE)
