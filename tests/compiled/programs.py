"""The operators as functions of arrays, for tests that read compiled programs."""

import dataclasses
import functools
import re
from collections import Counter

import jax.numpy as jnp
import numpy as np

from flax_dynconv import ops

B, S, C = 16, (6, 5), 8


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """One operator call. Arrays named in `shared` have no batch axis and are replicated."""

    function: object
    shapes: dict
    shared: tuple = ()

    def __call__(self, *arrays):
        return self.function(**dict(zip(self.shapes, arrays, strict=True)))

    def arrays(self, batch=B, dtype=jnp.float32):
        r = np.random.RandomState(0)
        return [jnp.asarray(r.standard_normal(self.shape(n, batch)), dtype) for n in self.shapes]

    def shape(self, name, batch=B):
        shape = self.shapes[name]
        return shape if name in self.shared else (batch, *shape)


def _mixture(shapes, **options):
    shapes = {'x': (*S, C), **shapes}
    return Program(functools.partial(ops.mixture_conv, **options), shapes, ('kernels',))


bank, one, depthwise = {'kernels': (4, 3, 3, C, C)}, {'kernels': (1, 3, 3, C, C)}, {'kernels': (4, 3, 3, 1, C)}
weights, weight, per_output = {'weights': (4,)}, {'weights': (1,)}, {'weights': (4, C)}
tap_scale = {'tap_scale': (3, 3)}
scales = {'input_scale': (C,), 'output_scale': (C,), **tap_scale}

# What `None` may choose, and the forms that promise to shard and to export.
PROGRAMS = {
    'per_sample': Program(ops.per_sample_conv, {'x': (*S, C), 'kernel': (3, 3, C, C)}),
    'per_sample_loop': Program(
        functools.partial(ops.per_sample_conv, implementation='loop'), {'x': (*S, C), 'kernel': (3, 3, C, C)}
    ),
    'per_sample_depthwise': Program(
        functools.partial(ops.per_sample_conv, feature_group_count=C), {'x': (*S, C), 'kernel': (3, 3, 1, C)}
    ),
    'mixture': _mixture(bank | weights),
    'mixture_strided': _mixture(bank | weights, strides=2, padding=1),
    'mixture_circular': _mixture(bank | weights, padding='CIRCULAR'),
    'mixture_groups': _mixture({'kernels': (4, 3, 3, C // 2, C)} | weights | tap_scale, feature_group_count=2),
    'mixture_all_scales': _mixture(bank | weights | scales),
    'mixture_one_kernel': _mixture(one | weight),
    'mixture_one_kernel_taps': _mixture(one | weight | tap_scale),
    'mixture_per_output': _mixture(bank | per_output),
    'mixture_depthwise': _mixture(depthwise | weights, feature_group_count=C),
    'mixture_patches': _mixture(bank | weights, implementation='patches'),
    'mixture_loop': _mixture(bank | weights | scales, implementation='loop'),
    'mixture_blocks': _mixture(bank | weights | scales, implementation='blocks', strides=2),
    'mixture_columns': _mixture(bank | weights | scales, implementation='columns'),
    'mixture_features_in': _mixture(bank | weights, implementation='features_in'),
    'mixture_features_in_taps': _mixture(
        {'kernels': (2, 2, 1, C, C), 'weights': (2,), 'tap_scale': (2, 1)}, implementation='features_in'
    ),
    'mixture_features_out': _mixture(bank | per_output, implementation='features_out'),
    'per_position': Program(ops.per_position_conv, {'x': (*S, C), 'kernels': (*S, 3, 3, 2)}),
    'per_position_full': Program(ops.per_position_conv, {'x': (*S, C), 'kernels': (*S, 3, 3, C, 4)}),
    'per_position_patches': Program(
        functools.partial(ops.per_position_conv, implementation='patches'), {'x': (*S, C), 'kernels': (*S, 3, 3, 2)}
    ),
}

_COLLECTIVE = re.compile(r' (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(')


def collectives(compiled) -> dict:
    """How many collectives of each kind a compiled program holds."""
    return dict(Counter(_COLLECTIVE.findall(compiled.as_text())))
