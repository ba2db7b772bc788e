"""Running a frame predictor over a sequence: what it is given it remembers, what it predicts it is given next."""

import jax
from flax import linen as nn

from flax_dynconv.models._frames import no_state, push, window


def unroll(model: nn.Module, frames: jax.Array, with_filters: bool):
    """The predictions (B, output_frames, H, W, C) of a `FramePredictor`, and the taps if asked for, else None.

    The window of the last `buffer_len` frames moves over those given, of which only the state remains (nothing is
    decoded there), and on over the predictions.
    """
    n = model.buffer_len
    if not model.recurrent:
        frames = frames[:, -n:]
    first = window(frames[:, :n])
    state = no_state(first, model.mid.features) if model.recurrent else None

    def remember(model, carry, frame):
        seen, state = carry
        return (push(seen, frame), model.encode(seen, state)), None

    def predict(model, carry, _):
        seen, state = carry
        frame, state, taps = model.step(seen, state)
        return (push(seen, frame), state), (frame, taps if with_filters else None)

    carry = first, state
    if frames.shape[1] > n:
        carry, _ = _scan(model, remember, carry, frames[:, n:], frames.shape[1] - n)
    _, predicted = _scan(model, predict, carry, None, model.output_frames)
    return predicted


def _scan(model, body, carry, frames, length):
    """`lax.scan` of a body that calls the model's methods; the parameters stay the model's own."""
    if model.remat:
        body = nn.remat(body, prevent_cse=False)  # a scan's body is compiled apart: there is nothing to merge with
    lifted = nn.scan(
        body,
        variable_broadcast='params',
        split_rngs={'params': False},
        in_axes=1,
        out_axes=1,
        length=length,
        unroll=length if model.unroll is True else model.unroll,
    )
    return lifted(model, carry, frames)
