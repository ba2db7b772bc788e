"""Dynamic Filter Networks: the next frames of a video, each a filtering of the one before, fed back to the network."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import LocalFiltering
from flax_dynconv.models._filter_fields import square, widened
from flax_dynconv.models._frames import SEQUENCE, WINDOW, check_frames, doubled, no_state
from flax_dynconv.models._predictor_fields import STATE, check_fields, check_state
from flax_dynconv.models._unrolling import unroll
from flax_dynconv.models.network import static_conv
from flax_dynconv.models.untied_conv import UntiedConv
from flax_dynconv.ops import Autotune
from flax_dynconv.ops._checks import check_rank

# U(-sqrt(3 / fan_in), sqrt(3 / fan_in)): He's law with gain 1.
he_uniform = nn.initializers.variance_scaling(1.0, 'fan_in', 'uniform')


class FramePredictor(nn.Module, kw_only=True):
    """Frames that follow, from an encoder, a state that is a sum, a decoder and a local filtering of the last frame.

    s_t = mid(enc(frames_t)) + hid(s_{t-1}),  F_t = filt(pre(dec(s_t))),  frame_{t+1} = filtering(frame_t, F_t)

    enc halves the size once, dec doubles it (nearest neighbour); 3x3 convolutions, pre and filt 1x1; leaky ReLUs but
    after filt. The filters' taps pass a softmax. Every prediction is the next input, in training too, and gradients
    flow through all of them; the state is 0 before the first frame.

    Shapes: frames (B, T, H, W, C), T >= buffer_len, H and W even, to (B, output_frames, H, W, C); all channels of a
    frame are filtered alike. Parameters are named enc_0, .., mid, hid_0, hid_1, dec_0, .., pre, filt, and out or
    ref_0, .. where there are such. Dtypes as `nn.Conv`; the softmax in float32 or wider. `train` has no effect.

    Attributes:
      output_frames: how many frames to predict.
      channels: C, of a frame.
      buffer_len: how many of the last frames the encoder sees, as channels, the oldest first.
      filter_size: odd, an int or two.
      dynamic_bias: one further generated channel is added to the last frame before it is filtered.
      encoder, state, decoder, upsampled, head: channels of the convolutions: the encoder's (the second has stride 2),
        those of mid and hid, those of the decoder before and after the size is doubled, that of pre.
      width: multiplies them.
      recurrent: False has no hid and no state; only the last `buffer_len` frames matter then.
      untied: names of convolutions with a bias at every position; their network fits one size of frames.
      filtering: False is the baseline: a 1x1 convolution `out` of what would be the filters is the prediction.
      refinement: adds to each prediction what four convolutions make of it and the frames in the buffer.
      image_size: (H, W) that frames must have; None takes any.
      remat: compute the activations of each step again in the backward pass instead of keeping them.
      unroll: how many steps are compiled as one piece, as in `lax.scan`; True: all. On CPU the backward pass of
        convolutions within a loop takes 10 to 20 times as long, elsewhere a loop compiles faster.
      implementation: form of `ops.per_position_conv`.
      dtype, param_dtype, precision: as in `nn.Conv`.

    Raises ValueError for frames of another rank, too few, of odd size or not of `image_size`, for a state that is not
    that of the frames, and for fields out of their range.

    >>> import jax, jax.numpy as jnp
    >>> model, frames = FramePredictor(output_frames=3, width=0.125), jnp.ones((2, 4, 8, 8, 1))
    >>> y, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), frames)
    >>> y.shape, sorted(variables['params'])[:3]
    ((2, 3, 8, 8, 1), ['dec_0', 'dec_1', 'dec_2'])

    Source: section 4.2 of arXiv:1605.09673; layers, slope (0.01), padding and initialisation (He-uniform of gain 1,
    biases 0) as the authors' Lasagne code.
    """

    output_frames: int = 10
    channels: int = 1
    buffer_len: int = 1
    filter_size: int | Sequence[int] = 9
    dynamic_bias: bool = False
    encoder: Sequence[int] = (32, 32, 64, 64)
    state: int = 128
    decoder: Sequence[int] = (64, 64)
    upsampled: Sequence[int] = (64, 64)
    head: int = 128
    width: float = 1.0
    recurrent: bool = True
    untied: Sequence[str] = ()
    filtering: bool = True
    refinement: bool = False
    image_size: Sequence[int] | None = None
    remat: bool = False
    unroll: int | bool = 1
    implementation: str | Autotune | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    def setup(self):
        """The convolutions, and the layer that applies the filters."""
        check_fields(self)
        wide = functools.partial(widened, width=self.width)
        (state,), (head,) = wide((self.state,)), wide((self.head,))
        self.enc = [
            self._conv(features, strides=2 if i == 1 else 1, untied=f'enc_{i}' in self.untied)
            for i, features in enumerate(wide(self.encoder))
        ]
        self.mid = self._conv(state, untied='mid' in self.untied)
        if self.recurrent:
            self.hid = [self._conv(state) for _ in range(2)]
        self.dec = [self._conv(features) for features in wide((*self.decoder, *self.upsampled))]
        self.pre = self._conv(head, 1)
        size = square(self.filter_size)
        self.apply_filters = LocalFiltering(
            size,
            channels='shared',
            softmax=True,
            bias=self.dynamic_bias,
            implementation=self.implementation,
            precision=self.precision,
            dtype=self.dtype,
        )
        self.filt = self._conv(self.apply_filters.filter_channels(self.channels), 1)
        if not self.filtering:
            self.out = self._conv(self.channels, 1)
        if self.refinement:
            self.ref = [self._conv(features) for features in (*wide((32, 64, 32)), self.channels)]

    def _conv(self, features, size=3, strides=1, untied=False):
        # Symmetric, also where the stride is 2: 'SAME' would pad an even input on one side only.
        return (UntiedConv if untied else static_conv)(
            features=features,
            kernel_size=(size, size),
            strides=strides,
            padding=((size // 2, size // 2),) * 2,
            kernel_init=he_uniform,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
        )

    def encode(self, frames: jax.Array, state: jax.Array | None = None) -> jax.Array:
        """The new state (B, H/2, W/2, S), from frames (B, H, W, buffer_len * C) and the state before; None: 0."""
        x = frames = self._checked(frames, WINDOW, self.buffer_len * self.channels)
        if state is not None:
            check_state(state, frames, self.recurrent, self.mid.features)
        for layer in (*self.enc, self.mid):
            x = nn.leaky_relu(layer(x))
        if not self.recurrent:
            return x
        state = no_state(frames, x.shape[-1]) if state is None else state
        for layer in self.hid:
            state = nn.leaky_relu(layer(state))
        return x + state

    def decode(self, state: jax.Array) -> jax.Array:
        """A state (B, H/2, W/2, S) to filters (B, H, W, N) before their softmax."""
        check_rank('state', state, (4,), STATE)
        if state.shape[-1] != self.mid.features:
            raise ValueError(f'state: expected {self.mid.features} channels {STATE}, got shape {state.shape}')
        x = state
        for i, layer in enumerate(self.dec):
            x = doubled(x) if i == len(self.decoder) else x
            x = nn.leaky_relu(layer(x))
        return self.filt(nn.leaky_relu(self.pre(x)))

    def step(self, frames: jax.Array, state: jax.Array | None = None):
        """One step: frames (B, H, W, buffer_len * C), the oldest first, and the state before; None: 0.

        Returns the next frame (B, H, W, C), the new state (B, H/2, W/2, S), None where there is none, and the taps
        (B, H, W, kh * kw) as they are applied, None in the baseline.
        """
        frames = self._checked(frames, WINDOW, self.buffer_len * self.channels)
        new = self.encode(frames, state)
        filters, taps, last = self.decode(new), None, frames[..., -self.channels :]
        if self.filtering:
            taps, frame = self.apply_filters.taps(filters, self.channels), self.apply_filters(last, filters)
        else:
            frame = self.out(filters)
        if self.refinement:
            x = jnp.concatenate([frame, frames], axis=-1)
            for layer in self.ref:
                x = nn.leaky_relu(layer(x))
            frame = frame + x
        return frame, new if self.recurrent else None, taps

    def __call__(self, frames: jax.Array, train: bool = False, with_filters: bool = False):
        """frames (B, T, H, W, C) to the next ones (B, output_frames, H, W, C).

        `with_filters` returns a pair, the frames and the taps (B, output_frames, H, W, kh * kw).
        """
        frames = self._checked(frames, SEQUENCE, self.channels)
        if frames.shape[1] < self.buffer_len:
            raise ValueError(f'frames: expected at least buffer_len = {self.buffer_len} frames, got {frames.shape[1]}')
        predicted, taps = unroll(self, frames, with_filters)
        return (predicted, taps) if with_filters else predicted

    def _checked(self, frames, layout, channels):
        """Frames in the computation dtype."""
        frames = jnp.asarray(frames)
        check_frames(frames, layout, channels, self.image_size)
        return frames.astype(nn.dtypes.canonicalize_dtype(frames, jnp.zeros((), self.param_dtype), dtype=self.dtype))
