"""CondInst: `DynamicMaskHead` of AdelaiDet, the networks alone and with what precedes and follows them."""

import itertools

import numpy as np
from flax import linen as nn

from flax_dynconv.convert.arguments import Signature, flag, positive_int
from flax_dynconv.convert.errors import ConversionError
from flax_dynconv.convert.reference import Buffer, Reference
from flax_dynconv.models.condinst import SIZES_OF_INTEREST, DynamicMaskHead

# More than anybody has.
_MOST_LAYERS = 32


def none_or(check):
    """A check: null, or what another one allows."""
    return lambda value: None if value is None else check(value)


def sizes(value):
    """A check: whole numbers of pixels, one for each level."""
    fine = isinstance(value, tuple) and value and all(positive_int(size) is None for size in value)
    return None if fine else 'a list of ints >= 1, one for each level'


def layer_channels(inputs, channels, layers, coordinates):
    """Channels of the layers of a mask network, inputs first."""
    return (inputs + 2 * coordinates, *(channels,) * (layers - 1), 1)


def buffers(sizes_of_interest):
    """Those of `DynamicMaskHead`: what coordinates are divided by, and a counter of training steps for BoxInst."""
    return {
        'sizes_of_interest': Buffer(np.array(sizes_of_interest, np.int64), fixed=True),
        '_iter': Buffer(np.zeros(1, np.float32)),
    }


# `num_gen_params` may be given, and is then checked; `instances` are those of the traced example.
_HEAD = Signature(
    {
        'in_channels': 8,
        'channels': 8,
        'num_layers': 3,
        'disable_rel_coords': False,
        'sizes_of_interest': SIZES_OF_INTEREST,
        'mask_feat_stride': 8,
        'mask_out_stride': 4,
        'num_gen_params': None,
        'instances': 2,
    },
    {
        'in_channels': positive_int,
        'channels': positive_int,
        'num_layers': positive_int,
        'disable_rel_coords': flag,
        'sizes_of_interest': sizes,
        'mask_feat_stride': positive_int,
        'mask_out_stride': positive_int,
        'num_gen_params': none_or(positive_int),
        'instances': positive_int,
    },
    aliases={'cm': 'in_channels', 'out_stride': 'mask_out_stride'},
)


def _head_channels(args):
    return layer_channels(args['in_channels'], args['channels'], args['num_layers'], not args['disable_rel_coords'])


def _generated(args):
    channels = _head_channels(args)
    return sum(o * i + o for i, o in itertools.pairwise(channels))


def _head(args, dtype, param_dtype):
    if args['num_gen_params'] not in (None, _generated(args)):
        raise ConversionError(
            f"argument 'num_gen_params': expected {_generated(args)} for these channels and layers, "
            f'got {args["num_gen_params"]}'
        )
    return DynamicMaskHead(
        channels=_head_channels(args),
        relative_coordinates=not args['disable_rel_coords'],
        stride=args['mask_feat_stride'],
        out_stride=args['mask_out_stride'],
        sizes_of_interest=args['sizes_of_interest'],
    )


def _with_split(head, parameters, features):
    return [head(parameters, features), *head.split(parameters)]


def _head_example(args):
    n = args['instances']
    return (n, _generated(args)), (n, 6, 7, _head_channels(args)[0])


# `mask_heads_forward`: networks (N, G) and the inputs (N, C, H, W) of each, coordinates among them, to logits
# (N, 1, H, W). A case may have the split networks, weights and bias of each layer, after them.
DYNAMIC_MASK_HEAD = Reference(
    signature=_HEAD,
    build=_head,
    rules=lambda args: (),
    example=_head_example,
    inputs=('as_is', 'channels_first'),
    outputs=('channels_first', *('as_is',) * (2 * _MOST_LAYERS)),
    optional_outputs=2 * _MOST_LAYERS,
    call=lambda train: {'method': _with_split},
    buffers=lambda args: buffers(args['sizes_of_interest']),
    weightless=True,
)


def _masks(head, *inputs):
    logits = head.masks(*inputs)
    return logits, nn.sigmoid(logits)


# `mask_heads_forward_with_coords`: networks (N, G), mask features (B, Cm, H, W), locations (N, 2), levels (N,) and
# images (N,) to logits at `mask_out_stride` and, if the case has them, their sigmoid.
WITH_COORDS = DYNAMIC_MASK_HEAD._replace(
    example=lambda args: (
        (args['instances'], _generated(args)),
        (2, 6, 7, args['in_channels']),
        (args['instances'], 2),
        (args['instances'],),
        (args['instances'],),
    ),
    inputs=('as_is', 'channels_first', 'as_is', 'as_is', 'as_is'),
    outputs=('channels_first', 'channels_first'),
    optional_outputs=1,
    call=lambda train: {'method': _masks},
)
