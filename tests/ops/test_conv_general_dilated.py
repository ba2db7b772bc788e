"""`ops.conv_general_dilated` against `lax.conv_general_dilated`: values, derivatives of every kind, programs."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export, lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from flax_dynconv.ops import conv_general_dilated
from tests.compiled.programs import collectives
from tests.jaxprs import equations
from tests.tolerances import BOUND, assert_close
from tests.x64 import x64

LAYOUTS = {1: ('NWC', 'WIO', 'NWC'), 2: ('NHWC', 'HWIO', 'NHWC'), 3: ('NDHWC', 'DHWIO', 'NDHWC')}

# Shape of x, of w, strides, padding, further arguments.
CASES = {
    'same': ((2, 5, 6, 3), (3, 3, 1, 3), (1, 1), 'SAME', {}),
    'strides, multiplier': ((2, 7, 6, 3), (3, 2, 1, 6), (2, 3), 'SAME', {}),
    'same lower': ((2, 5, 6, 3), (2, 4, 1, 3), (1, 2), 'SAME_LOWER', {'precision': 'highest'}),
    'valid, kernel dilation': ((2, 7, 8, 3), (3, 2, 1, 3), (1, 1), 'VALID', {'rhs_dilation': (2, 3)}),
    'explicit, input dilation': ((2, 4, 5, 2), (3, 3, 1, 4), (1, 2), ((1, 2), (0, 3)), {'lhs_dilation': (2, 1)}),
    'crop': ((2, 6, 5, 3), (3, 3, 1, 3), (2, 1), ((-1, 2), (0, -1)), {}),
    '1-D': ((2, 9, 4), (3, 1, 4), (2,), 'SAME', {}),
    '3-D': ((2, 3, 4, 3, 2), (2, 3, 2, 1, 2), (1, 2, 1), ((1, 0), (1, 1), (0, 1)), {}),
    'blocks of channels': ((1, 12, 12, 256), (3, 3, 1, 256), (1, 1), 'SAME', {}),
}

# What is none of a depthwise convolution in channels-last layout, or not of this form.
OTHERS = {
    'dense': ((2, 5, 5, 4), (3, 3, 4, 6), jnp.float32, {}),
    'one channel': ((2, 5, 5, 1), (3, 3, 1, 4), jnp.float32, {}),
    'groups': ((2, 5, 5, 4), (3, 3, 2, 4), jnp.float32, {'feature_group_count': 2}),
    'channels first': (
        (2, 4, 5, 5), (4, 1, 3, 3), jnp.float32, {'feature_group_count': 4, 'dimension_numbers': None},
    ),
    'batch groups': ((4, 5, 5, 2), (3, 3, 2, 4), jnp.float32, {'batch_group_count': 2}),
    'integers': ((2, 5, 5, 4), (3, 3, 1, 4), jnp.int32, {'feature_group_count': 4}),
    'no rows': ((2, 0, 5, 4), (3, 3, 1, 4), jnp.float32, {'feature_group_count': 4}),
    'empty batch': ((0, 5, 5, 4), (3, 3, 1, 4), jnp.float32, {'feature_group_count': 4}),
    'many taps': ((1, 20, 20, 2), (12, 12, 1, 2), jnp.float32, {'feature_group_count': 2}),
}  # fmt: skip


def draw(*shapes, dtype=None):
    r = np.random.default_rng(0)
    return [jnp.asarray(r.standard_normal(shape), dtype) for shape in shapes]


def pair(strides, padding, options, rank, channels):
    """Ours and JAX's as functions of two arrays."""
    options = {'dimension_numbers': LAYOUTS[rank], 'feature_group_count': channels} | options
    return [
        functools.partial(f, window_strides=strides, padding=padding, **options)
        for f in (conv_general_dilated, lax.conv_general_dilated)
    ]


def depthwise(c=6, **options):
    return pair((1, 1), 'SAME', options, 2, c)


def primitives(function, *arrays):
    return {e.primitive.name for e in equations(jax.make_jaxpr(function)(*arrays).jaxpr)}


def value_and_gradients(f):
    def both(x, w):
        y, pull_back = jax.vjp(f, x, w)
        return y, pull_back(jnp.cos(y))

    return both


def squares(f):
    return lambda x, w: (f(x, w).astype(jnp.float32) ** 2).sum()


@pytest.mark.parametrize('name', CASES)
def test_values_and_gradients(name):
    x_shape, w_shape, strides, padding, options = CASES[name]
    with x64():
        x, w = draw(x_shape, w_shape)
        assert x.dtype == jnp.float64
        ours, theirs = pair(strides, padding, options, len(x_shape) - 2, x_shape[-1])
        assert 'static_depthwise_apply' in primitives(ours, x, w)
        if name == 'crop':  # XLA's CPU compiler of jax 0.10.2 reads beside the input: crop it first
            low = tuple((max(0, -lo), n - max(0, -hi)) for (lo, hi), n in zip(padding, x_shape[1:-1], strict=True))
            kept = (slice(None), *(slice(*pair) for pair in low))
            cropped = tuple(tuple(max(0, v) for v in p) for p in padding)
            inner = pair(strides, cropped, options, 2, x_shape[-1])[1]
            theirs = lambda x, w: inner(x[kept], w)  # noqa: E731
        jax.tree.map(assert_close, jax.jit(value_and_gradients(ours))(x, w), value_and_gradients(theirs)(x, w))


def test_forward_mode_and_second_derivatives():
    with x64():
        x, w = draw((1, 3, 4, 2), (2, 3, 1, 4))
        results = []
        for f in pair((2, 1), 'SAME', {}, 2, 2):
            loss = squares(lambda x, w, f=f: jnp.sin(f(x, w)))
            forward = functools.partial(jax.jvp, f, (x, w), (x + 1, w - 1))
            modes = [jax.jit(m(jax.grad(loss, (0, 1)), (0, 1))) for m in (jax.jacfwd, jax.jacrev)]
            results.append((forward(), [mode(x, w) for mode in modes]))
        jax.tree.map(functools.partial(assert_close, bound=1e-6), *results)  # the loss is float32


@pytest.mark.parametrize('axes', [(1, None), (None, 0), (0, 3)])
def test_vmap(axes):
    (x, w), size = draw((2, 4, 5, 3), (3, 3, 1, 3)), 2
    x, w = (a if i is None else jnp.stack([a * k for k in range(1, size + 1)], i) for a, i in zip((x, w), axes))  # noqa: B905
    results = []
    for f in depthwise(3):
        inside = jax.vmap(jax.grad(squares(f), (0, 1)), axes)
        outside = jax.grad(lambda x, w, f=f: jax.vmap(squares(f), axes)(x, w).sum(), (0, 1))
        results.append(jax.jit(lambda x, w, a=inside, b=outside: (a(x, w), b(x, w)))(x, w))
    jax.tree.map(assert_close, *results)


@pytest.mark.parametrize('preferred', [None, jnp.float32])
@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16])
def test_half_types_are_added_in_float32(dtype, preferred):
    x, w = draw((2, 8, 8, 6), (5, 5, 1, 6), dtype=dtype)
    ours, theirs = depthwise(preferred_element_type=preferred)
    exact = jax.tree.map(lambda a: a.astype(jnp.float32), (x, w))
    actual = jax.jit(value_and_gradients(ours))(x, w)
    y, (dx, dw) = actual
    assert (y.dtype, dx.dtype, dw.dtype) == (preferred or dtype, dtype, dtype)
    expected = value_and_gradients(theirs)(*exact)
    bound = BOUND[jnp.dtype(preferred or dtype).name]
    assert_close(y, expected[0], bound=bound)
    # The cotangent is a function of y, rounded like it.
    jax.tree.map(functools.partial(assert_close, bound=BOUND[jnp.dtype(dtype).name]), (dx, dw), expected[1])


def test_a_sum_of_many_halves():
    """4096 products of 1 add up to 4096: a sum in bfloat16 would stop at 256."""
    x, w = jnp.ones((1, 64, 64, 2), jnp.bfloat16), jnp.ones((1, 1, 1, 2), jnp.bfloat16)
    gradient = jax.grad(lambda w: depthwise(2)[0](x, w).astype(jnp.float32).sum())(w)
    assert gradient.astype(jnp.float32).ravel().tolist() == [4096, 4096]


@pytest.mark.parametrize('name', OTHERS)
def test_every_other_convolution_is_that_of_jax(name):
    x_shape, w_shape, dtype, options = OTHERS[name]
    x, w = (jnp.ones(shape, dtype) for shape in (x_shape, w_shape))
    options = {'dimension_numbers': LAYOUTS[2], **options}
    if 'batch_group_count' in options:
        options['feature_group_count'] = 1
    ours, theirs = (
        functools.partial(f, window_strides=(1, 1), padding='SAME', **options)
        for f in (conv_general_dilated, lax.conv_general_dilated)
    )
    assert str(jax.make_jaxpr(ours)(x, w)) == str(jax.make_jaxpr(theirs)(x, w))


@pytest.mark.parametrize(
    'change',
    [
        {'window_strides': (1,)},
        {'padding': ((1, 1),)},
        {'padding': 'NONE'},
        {'feature_group_count': 3},
        {'lhs_dilation': (2, 2)},
        {'rhs': jnp.ones((3, 3, 1, 4), jnp.bfloat16)},
        {'rhs': jnp.ones((3, 1, 4))},
        {'rhs': jnp.ones((3, 3, 1, 6))},
        {'lhs': [1.0]},
        {'preferred_element_type': jnp.int32},
        {'preferred_element_type': jnp.bfloat16},
    ],
    ids=str,
)
def test_errors_are_those_of_jax(change):
    arguments = {
        'lhs': jnp.ones((2, 5, 5, 4)), 'rhs': jnp.ones((3, 3, 1, 4)), 'window_strides': (1, 1), 'padding': 'SAME',
        'dimension_numbers': LAYOUTS[2], 'feature_group_count': 4, **change,
    }  # fmt: skip
    errors = []
    for f in (conv_general_dilated, lax.conv_general_dilated):
        with pytest.raises(Exception) as caught:
            f(**arguments)
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]


def test_numpy_arrays_of_double_precision_become_single():
    x, w = np.ones((1, 5, 5, 6)), np.ones((3, 3, 1, 6))
    ours, theirs = (f(x, w) for f in depthwise())
    assert ours.dtype == theirs.dtype == jnp.float32
    assert_close(ours, theirs)


def test_programs_for_other_platforms_are_those_of_jax():
    x, w = jnp.ones((2, 5, 6, 6)), jnp.ones((3, 3, 1, 12))
    for platform in ('tpu', 'cuda'):
        texts = [
            jax.jit(value_and_gradients(f)).trace(x, w).lower(lowering_platforms=(platform,)).as_text()
            for f in depthwise()
        ]
        assert texts[0] == texts[1]
        assert texts[0].count('stablehlo.convolution') == 3


def test_the_cpu_has_no_convolution():
    x, w = jnp.ones((2, 5, 6, 6)), jnp.ones((3, 3, 1, 12))
    lowered = jax.jit(value_and_gradients(depthwise()[0])).lower(x, w).as_text()
    assert 'stablehlo.convolution' not in lowered


@pytest.mark.parametrize('mode', ['plain', 'auto', 'explicit', 'shard_map'])
def test_a_sharded_batch_is_not_gathered(mode):
    ours, theirs = depthwise(256)
    (x, w), kind = draw((16, 6, 8, 256), (3, 3, 1, 256), dtype=jnp.float32), AxisType.Explicit
    mesh = jax.make_mesh((8,), ('data',), axis_types=(kind if mode == 'explicit' else AxisType.Auto,))
    expected = value_and_gradients(theirs)(x, w)
    x = jax.device_put(x, jax.NamedSharding(mesh, P('data')))
    w = jax.device_put(w, jax.NamedSharding(mesh, P()))
    if mode == 'shard_map':
        ours = jax.shard_map(ours, mesh=mesh, in_specs=(P('data'), P()), out_specs=P('data'))
    with contextlib.nullcontext() if mode == 'plain' else jax.set_mesh(mesh):
        both = jax.jit(value_and_gradients(ours)).lower(x, w).compile()
        assert collectives(both) == {'all-reduce': 1}
        jax.tree.map(functools.partial(assert_close, bound=1e-5), both(x, w), expected)


def test_explicit_axes_over_rows_are_left_to_jax():
    mesh = jax.make_mesh((8,), ('rows',), axis_types=(AxisType.Explicit,))
    (x, w), (ours, theirs) = draw((2, 16, 4, 6), (1, 1, 1, 6), dtype=jnp.float32), depthwise()
    with jax.set_mesh(mesh):
        x = jax.device_put(x, P(None, 'rows'))
        assert 'static_depthwise_apply' not in primitives(ours, x, w)
        assert_close(ours(x, w), theirs(x, w))


def test_symbolic_batch():
    ours, theirs = depthwise()
    (b,) = export.symbolic_shape('b')
    x, w = draw((3, 5, 4, 6), (3, 3, 1, 6), dtype=jnp.float32)
    signature = jax.ShapeDtypeStruct((b, *x.shape[1:]), x.dtype), jax.ShapeDtypeStruct(w.shape, w.dtype)
    exported = export.export(jax.jit(value_and_gradients(ours)), platforms=('cpu', 'tpu'))(*signature)
    jax.tree.map(assert_close, exported.call(x, w), value_and_gradients(theirs)(x, w))


def test_symbolic_rows_are_left_to_jax():
    ours, theirs = depthwise()
    (h,) = export.symbolic_shape('h')
    x, w = draw((2, 5, 4, 6), (3, 3, 1, 6), dtype=jnp.float32)
    exported = export.export(jax.jit(ours))(jax.ShapeDtypeStruct((2, h, 4, 6), x.dtype), w)
    assert_close(exported.call(x, w), theirs(x, w))


@pytest.mark.parametrize('padding', ['SAME', 'CIRCULAR', 'REFLECT', 1])
def test_in_flax(padding):
    layer = functools.partial(nn.Conv, 8, (3, 3), strides=2, padding=padding, feature_group_count=4)
    ours, theirs = layer(conv_general_dilated=conv_general_dilated), layer()
    (x,) = draw((2, 3, 6, 6, 4), dtype=jnp.float32)  # two axes of batches
    variables = theirs.init(jax.random.key(0), x)
    assert 'static_depthwise_apply' in primitives(ours.apply, variables, x)
    assert_close(ours.apply(variables, x), theirs.apply(variables, x))
