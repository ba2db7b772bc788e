"""Dynamic Filter Networks: the authors published no PyTorch code; keys by role, as PyTorch ports name them."""

import functools

from flax_dynconv.convert.arguments import Signature, ints, positive_number
from flax_dynconv.convert.reference import Reference
from flax_dynconv.convert.references._common import dtype_fields
from flax_dynconv.convert.rules import Rule, mount
from flax_dynconv.convert.transforms import Transform, conv_kernel, identity, pointwise_as_linear
from flax_dynconv.models._filter_fields import widened
from flax_dynconv.models.frame_predictors import dfn_highway, dfn_moving_mnist, dfn_stereo
from flax_dynconv.models.steerable_filter import SteerableFilter

_GENERATOR = (
    Rule('gen.{i}.weight', 'params/gen_{i}/kernel', pointwise_as_linear(2)),
    Rule('gen.{i}.bias', 'params/gen_{i}/bias', identity),
)
_CONV = (Rule('weight', 'params/kernel', conv_kernel), Rule('bias', 'params/bias', identity))
# (C, H, W) <-> (H, W, C)
_untied_bias = Transform(lambda x: x.transpose(1, 2, 0), lambda x: x.transpose(2, 0, 1))
_UNTIED = (_CONV[0], Rule('bias', 'params/bias', _untied_bias))


def _build_steerable(args, dtype, param_dtype):
    return SteerableFilter(filter_size=args['filter_size'], **dtype_fields(dtype, param_dtype))


# From an image (B, 1, H, W) and angles (B,) to the filtered image and the taps (B, kh * kw).
STEERABLE_FILTER = Reference(
    signature=Signature({'filter_size': 9}, {'filter_size': ints(2)}),
    build=_build_steerable,
    rules=lambda args: _GENERATOR,
    example=lambda args: ((2, 16, 16, 1), (2,)),
    inputs=('channels_first', 'as_is'),
    outputs=('channels_first', 'as_is'),
    optional_outputs=1,
    call=lambda train: {'method': 'filtered'},
)


def frame_predictor(make, filter_size: int | tuple[int, int]) -> Reference:
    """One step of a frame predictor: (frames (B, C, H, W), state (B, S, H/2, W/2)) to (frame, new state, filters).

    Without recurrence there is no state, neither in nor out. A case may leave out the filters, the taps after their
    softmax. Arguments: `filter_size`, `width` and the `pixels` of the frames, one number or height and width, on which
    untied biases depend.
    """
    model = make()
    states = ('channels_first',) * bool(model.recurrent)
    return Reference(
        signature=Signature(
            {'filter_size': filter_size, 'width': 1, 'pixels': 64},
            {'filter_size': ints(2), 'width': positive_number, 'pixels': ints(2, 2)},
        ),
        build=functools.partial(_build, make),
        rules=lambda args: _rules(model.untied),
        example=functools.partial(_example, make),
        inputs=('channels_first', *states),
        outputs=('channels_first', *states, 'channels_first'),
        optional_outputs=1,
        call=lambda train: {'method': 'step'},
    )


def _build(make, args, dtype, param_dtype):
    return make(filter_size=args['filter_size'], width=args['width'], **dtype_fields(dtype, param_dtype))


def _example(make, args):
    model, pixels = make(width=args['width']), args['pixels']
    sizes = pixels if isinstance(pixels, tuple) else (pixels,)
    height, width = sizes[0], sizes[-1]
    frames = (2, height, width, model.buffer_len * model.channels)
    state = (2, height // 2, width // 2, *widened((model.state,), args['width']))
    return (frames, state) if model.recurrent else (frames,)


def _rules(untied: tuple[str, ...]) -> tuple[Rule, ...]:
    """The table: enc, hid and dec are numbered, mid, pre and filt are alone."""
    first = mount(_UNTIED if 'enc_0' in untied else _CONV, 'enc.0', 'enc_0')
    numbered = [rule for name in ('hid', 'dec') for rule in mount(_CONV, f'{name}.{{i}}', f'{name}_{{i}}')]
    later = mount(_CONV, 'enc.{i:[1-9]+}', 'enc_{i}')
    alone = [rule for name in ('pre', 'filt') for rule in mount(_CONV, name, name)]
    middle = mount(_UNTIED if 'mid' in untied else _CONV, 'mid', 'mid')
    return (*first, *later, *middle, *numbered, *alone)


MOVING_MNIST = frame_predictor(dfn_moving_mnist, 9)
HIGHWAY = frame_predictor(dfn_highway, 11)
STEREO = frame_predictor(dfn_stereo, (1, 13))
