"""The counter on networks of all sorts, each figure worked out by hand."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from flax_dynconv.layers import CondConv, DynamicConv, DyNetConv, ODConv
from flax_dynconv.models import FRAME_PREDICTORS, count
from tests.tolerances import assert_close

CASES = {
    'conv': (nn.Conv(8, (3, 3)), (1, 5, 5, 4), 5 * 5 * 9 * 4 * 8, 9 * 4 * 8 + 8),
    'strided, valid, no bias': (
        nn.Conv(8, (3, 3), strides=2, padding='VALID', use_bias=False),
        (1, 7, 7, 4),
        3 * 3 * 9 * 4 * 8,
        9 * 4 * 8,
    ),
    'groups': (nn.Conv(8, (3, 3), feature_group_count=4, use_bias=False), (1, 5, 5, 4), 5 * 5 * 9 * 8, 9 * 8),
    '1-D': (nn.Conv(8, 3), (1, 10, 4), 10 * 3 * 4 * 8, 3 * 4 * 8 + 8),
    'local': (nn.ConvLocal(2, (3,), padding='VALID'), (1, 6, 4), 4 * 3 * 4 * 2, 4 * 12 * 2 + 4 * 2),
    'transposed': (nn.ConvTranspose(6, (2, 2), strides=(2, 2)), (1, 5, 5, 4), 5 * 5 * 4 * 4 * 6, 4 * 4 * 6 + 6),
    'dense': (nn.Dense(7), (1, 5, 4), 5 * 4 * 7, 4 * 7 + 7),
    'general': (nn.DenseGeneral((2, 3), axis=(-2, -1)), (1, 5, 4), 20 * 6, 20 * 6 + 6),
    # routing 4 -> K, mixing K * P, convolution; bias per kernel
    'condconv': (CondConv(8, (3, 3), num_kernels=5), (1, 6, 6, 4), 36 * 288 + 5 * 288 + 20, 5 * 288 + 40 + 25),
    # routing 4 -> 2 -> 3
    'dy-cnn': (
        DynamicConv(8, (3, 3), num_kernels=3),
        (1, 6, 6, 4),
        36 * 288 + 3 * 288 + 4 * 2 + 2 * 3,
        3 * 288 + 24 + 8 + 9,
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_by_hand(case):
    model, shape, multiply_adds, parameters = CASES[case]
    report = count(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert (report.multiply_adds, report.parameters) == (multiply_adds, parameters)
    assert sum(layer.multiply_adds for layer in report.layers) == multiply_adds
    assert sum(layer.parameters for layer in report.layers) == parameters


@pytest.mark.parametrize('layer', [CondConv, DynamicConv, DyNetConv, ODConv])
def test_a_batch_costs_per_example_what_one_costs(layer):
    model = layer(8, (3, 3), num_kernels=3, strides=2)
    one, many = (count(model, jnp.zeros((batch, 6, 6, 4))) for batch in (1, 5))
    assert one.multiply_adds == many.multiply_adds > 0
    video = count(model, jnp.zeros((2, 7, 6, 6, 4)))
    assert video.multiply_adds == 7 * one.multiply_adds


def test_odconv_by_the_equation():
    """Routing 4 -> 16 -> 4 + 8 + 9 + 3, scaled input and output, convolution; mixing and taps once per kernel."""
    convolution, weights = 36 * 288, 288
    routing = 4 * 16 + 16 * (4 + 8 + 9 + 3)
    report = count(ODConv(8, (3, 3), num_kernels=3), jnp.zeros((1, 6, 6, 4)))
    assert report.multiply_adds == convolution + 3 * weights + 36 * 4 + 36 * 8 + routing + 3 * weights


class Shared(nn.Module):
    """One layer called twice: parameters count once, multiply-adds twice."""

    @nn.compact
    def __call__(self, x, scale, double=False):
        layer = nn.Dense(4)
        x = layer(layer(x)) if double else layer(x)
        return x * jnp.reshape(scale, (-1, 1))


def test_a_layer_that_is_called_twice():
    x = jnp.zeros((2, 4))
    once, twice = (count(Shared(), x, jnp.ones(2), double=double) for double in (False, True))
    assert once.parameters == twice.parameters == 20
    assert (once.multiply_adds, twice.multiply_adds) == (16, 32)
    assert [(layer.path, layer.kind) for layer in twice.layers] == [('Dense_0', 'Dense')]


class Setup(nn.Module):
    """Submodules from `setup`, a norm, dropout and a mask given by keyword."""

    def setup(self):
        self.body = nn.Sequential([nn.Conv(4, (1, 1)), nn.BatchNorm(use_running_average=True), nn.relu])
        self.drop = nn.Dropout(0.5, deterministic=False)

    def __call__(self, x, *, mask):
        return self.drop(self.body(x)) * mask


def test_any_users_network():
    report = count(Setup(), jnp.zeros((2, 3, 3, 2)), mask=jnp.ones((2, 3, 3, 1)))
    assert report.parameters == 2 * 4 + 4 + 8
    assert report.multiply_adds == 9 * 2 * 4
    assert [layer.kind for layer in report.layers] == ['Conv', 'BatchNorm']
    assert report.layers[0].output == (2, 3, 3, 4)


def test_nothing_is_computed():
    """A network far too large for any memory."""
    assert count(nn.Dense(2**20), jax.ShapeDtypeStruct((1, 2**20), jnp.float32)).multiply_adds == 2**40


def test_a_mode_may_be_positional():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(3)(x) if train else x

    assert count(Net(), jnp.zeros((2, 4)), True).multiply_adds == 12
    assert count(Net(), jnp.zeros((2, 4)), False).multiply_adds == 0


def test_a_wrapper_that_initialises_twice_counts_once():
    x = jnp.zeros((2, 5, 5, 4))
    plain, wrapped = nn.Conv(8, (3, 3)), nn.WeightNorm(nn.Conv(8, (3, 3)))
    assert count(wrapped, x).multiply_adds == count(plain, x).multiply_adds


@pytest.mark.parametrize('layer', [nn.Dense(3), ODConv(3, (3, 3), num_kernels=2)])
def test_vmap_over_the_batch_counts_every_example(layer):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            kinds = {'params': None, 'batch_stats': None, 'temperature': None}
            each = nn.vmap(lambda m, x: m(x[None])[0], variable_axes=kinds, split_rngs={'params': False})
            return each(layer.copy(name='layer'), x)

    x = jnp.zeros((4, 6, 6, 4))
    assert count(Net(), x).multiply_adds == count(layer, x).multiply_adds


def test_an_ensemble_counts_its_members():
    members = nn.vmap(nn.Dense, in_axes=None, variable_axes={'params': 0}, split_rngs={'params': True}, axis_size=5)
    report = count(members(3), jnp.zeros((2, 4)))
    assert (report.parameters, report.multiply_adds) == (5 * (4 * 3 + 3), 5 * 4 * 3)


def test_training_mode_counts_the_same():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.Conv(8, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))

    x = jnp.zeros((2, 5, 5, 4))
    assert count(Net(), x, train=True) == count(Net(), x)


def test_modules_under_jit_count_each():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            for name in ('a', 'b', 'c'):
                x = nn.jit(nn.Dense)(4, name=name)(x)
            return x

    report = count(Net(), jnp.zeros((2, 4)))
    assert (report.parameters, report.multiply_adds) == (3 * 20, 3 * 16)
    assert [layer.path for layer in report.layers] == ['a', 'b', 'c']


JITTED = nn.jit(nn.Dense)


def test_a_network_that_was_counted_still_runs():
    """`jit` may keep a program with what the count has noted in it."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return JITTED(4, name='layer')(x)

    model, x = Net(), jnp.ones((2, 4))
    variables = model.init(jax.random.key(0), x)
    expected = x @ variables['params']['layer']['kernel']
    for _ in range(2):
        assert count(model, x).multiply_adds == 16
        assert_close(model.apply(variables, x), expected)
        gradient = jax.jit(jax.grad(lambda v, x: model.apply(v, x).sum()))(variables, x)
        assert_close(gradient['params']['layer']['kernel'], jnp.full((4, 4), 2.0))


class Loop(nn.Module):
    """Two layers in a scan, and a scan in a scan."""

    inner: int = 1

    @nn.compact
    def __call__(self, x, steps):
        def body(module, carry, _):
            carry = nn.Dense(4, name='outer')(carry)
            return _repeat(module, self.inner, lambda m, c, _: (nn.Dense(4, name='inner')(c), None), carry), None

        return _repeat(self, steps, body, x)


def _repeat(module, length, body, x):
    lifted = nn.scan(body, variable_broadcast='params', split_rngs={'params': False}, length=length)
    return lifted(module, x, None)[0]


@pytest.mark.parametrize('inner', [1, 3])
@pytest.mark.parametrize('steps', [1, 7])
def test_the_body_of_a_scan_counts_as_often_as_it_runs(steps, inner):
    report = count(Loop(inner), jnp.zeros((2, 4)), steps)
    assert report.parameters == 2 * 20
    assert {layer.path: layer.multiply_adds for layer in report.layers} == {
        'outer': steps * 16,
        'inner': steps * inner * 16,
    }
    assert report.multiply_adds == steps * (1 + inner) * 16


@pytest.mark.parametrize('wrap', [nn.remat, nn.jit], ids=['remat', 'jit'])
def test_wrapped_bodies_count_too(wrap):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return _repeat(self, 3, wrap(lambda m, c, _: (nn.Dense(4, name='layer')(c), None)), x)

    assert count(Net(), jnp.zeros((2, 4))).multiply_adds == 3 * 16


def test_vmap_of_a_scan_and_scan_of_a_vmap():
    def each(module, x):
        return _repeat(module, 5, lambda m, c, _: (nn.Dense(4, name='layer')(c), None), x)

    def mapped(function):
        return nn.vmap(function, variable_axes={'params': None}, split_rngs={'params': False})

    class Outside(nn.Module):
        @nn.compact
        def __call__(self, x):
            return mapped(each)(self, x)

    class Inside(nn.Module):
        @nn.compact
        def __call__(self, x):
            step = mapped(lambda m, c: nn.Dense(4, name='layer')(c))
            return _repeat(self, 5, lambda m, c, _: (step(m, c), None), x)

    for model in (Outside(), Inside()):
        assert count(model, jnp.zeros((3, 4))).multiply_adds == 5 * 16


def test_a_gradient_within_a_network_counts_its_calls_forward():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(4)
            layer(x)
            return jax.grad(lambda x: layer(x).sum())(x)

    assert count(Net(), jnp.zeros((1, 4))).multiply_adds == 2 * 16


def _by_hand(size, width, encodes, decodes):
    """Of the predictor of moving digits: its convolutions and its 9x9 filtering, with channels times `width`."""
    full, half = size**2, (size // 2) ** 2
    a, b, c = (round(n * width) for n in (32, 64, 128))
    encode = 9 * (full * a + half * (a * a + a * b + b * b + b * c + 2 * c * c))
    decode = 9 * (half * (c * b + b * b) + full * 2 * b * b) + full * (b * c + c * 81 + 81)
    return encodes * encode + decodes * decode


@pytest.mark.parametrize('fields', [{}, {'unroll': True}, {'remat': True}, {'output_frames': 5}], ids=str)
def test_a_frame_predictor_by_hand(fields):
    """Ten frames in: 9 + n encodings and n decodings for n frames out."""
    wanted = fields.get('output_frames', 10)
    frames = jax.ShapeDtypeStruct((1, 10, 64, 64, 1), jnp.float32)
    found = count(FRAME_PREDICTORS['dfn_moving_mnist'](**fields), frames).multiply_adds
    assert found == _by_hand(64, 1, 9 + wanted, wanted)
    assert found == 13_365_714_944 or wanted != 10


def test_a_narrow_frame_predictor_by_hand():
    model = FRAME_PREDICTORS['dfn_moving_mnist'](width=0.25, output_frames=5)
    frames = jax.ShapeDtypeStruct((4, 5, 32, 32, 1), jnp.float32)
    assert count(model, frames).multiply_adds == _by_hand(32, 0.25, 9, 5)
