"""Bad input to the layers: the message names the argument, what was expected and what came."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from flax_dynconv.layers import (
    CondConv,
    CondConvRouting,
    DynamicConv,
    DyNetConv,
    ODConv,
    ODConvAttention,
    PlainODConv,
    set_temperature,
)
from tests.catalog import CATALOG, make
from tests.layers.common import inputs

every_layer = pytest.mark.parametrize('name', CATALOG)


def shapes(layer, x, *args, **kwargs):
    """Trace init: every check is on static shapes."""
    return jax.eval_shape(functools.partial(layer.init, **kwargs), jax.random.key(0), x, *args)


def raises(message):
    return pytest.raises(ValueError, match=message)


@every_layer
def test_int_kernel_size_with_4d_input(name):
    message = (
        r'kernel_size: expected a tuple of 2 ints, such as \(3, 3\), for the 4-D input \(3, 5, 4, 6\), got the int 3'
    )
    with raises(message):
        shapes(CATALOG[name](6, 3), inputs())


@every_layer
def test_int_kernel_size_means_one_dimension(name):
    layer, x = CATALOG[name](6, 3), inputs((2, 7, 6))
    variables = shapes(layer, x)
    assert jax.eval_shape(layer.apply, variables, x).shape == (2, 7, 6)


@every_layer
def test_mask(name):
    with raises('mask: expected None'):
        shapes(make(name, mask=jnp.ones((3, 3, 6, 6))), inputs())


@every_layer
def test_rank(name):
    with raises(re.escape('x: expected at least 3 dimensions (*batch, *spatial, channels)')):
        shapes(make(name), inputs((4, 6)))


@pytest.mark.parametrize('name', sorted(set(CATALOG) - {'PlainODConv'}))
def test_channels_that_do_not_fit_the_groups(name):
    with raises('feature_group_count: expected a divisor of the 6 input channels, got 4'):
        shapes(make(name, feature_group_count=4), inputs())
    with raises('features: expected a multiple of feature_group_count = 3, got 4'):
        shapes(CATALOG[name](4, (3, 3), feature_group_count=3), inputs())


@every_layer
def test_kernel_size_and_counts(name):
    with raises(re.escape('kernel_size: expected an int or ints, each >= 1, got (3, 0)')):
        shapes(CATALOG[name](6, (3, 0)), inputs())
    with raises('features: expected an int >= 1, got 0'):
        shapes(CATALOG[name](0, (3, 3)), inputs())
    with raises('num_kernels: expected an int >= 1, got 0'):
        shapes(make(name, num_kernels=0), inputs())


@every_layer
def test_unknown_implementation_lists_those_that_exist(name):
    with raises(r"implementation: expected None, an Autotune or one of .*'features_in'.*, got 'fast'"):
        shapes(make(name, implementation='fast'), inputs())


@every_layer
def test_what_the_operator_refuses_is_named(name):
    with raises("padding_mode: expected one of .*, got 'mirror'"):
        shapes(make(name, padding=1, padding_mode='mirror'), inputs())
    with raises('strides: expected an int or 2 ints, each >= 1, got 0'):
        shapes(make(name, strides=0), inputs())


WRONG_ROUTING = [
    (CondConv(6, (3, 3), num_kernels=4), (3, 5), r'routing: expected shape \(\*batch, K\) = \(3, 4\), got \(3, 5\)'),
    (CondConv(6, (3, 3), num_kernels=4), (2, 4), r'routing: expected the batch axes \(3,\) of x, got shape \(2, 4\)'),
    (DynamicConv(6, (3, 3)), (3, 5), r'routing: expected shape \(\*batch, K\) = \(3, 4\), got \(3, 5\)'),
    (DynamicConv(6, (3, 3)), (4,), r'routing: expected shape \(\*batch, K\) = \(3, 4\), got \(4,\)'),
    (DyNetConv(6, (3, 3)), (3, 6), r'routing: expected shape \(\*batch, K, Cout\) = \(3, 6, 6\), got \(3, 6\)'),
    (DyNetConv(6, (3, 3)), (1, 6, 6), r'routing: expected the batch axes \(3,\) of x, got shape \(1, 6, 6\)'),
]


@pytest.mark.parametrize('layer, shape, message', WRONG_ROUTING)
def test_routing_of_another_shape(layer, shape, message):
    with raises(message):
        shapes(layer, inputs(), jnp.ones(shape))


@pytest.mark.parametrize('layer', [ODConv(6, (3, 3)), PlainODConv(6, (3, 3), num_kernels=4)])
def test_attentions_of_another_shape(layer):
    good = {'channel': (3, 6), 'filter': (3, 6), 'spatial': (3, 3, 3), 'kernel': (3, 4)}
    attention = ODConvAttention(**{name: jnp.ones(shape) for name, shape in good.items()})
    shapes(layer, inputs(), attention)
    for name, wrong in {'channel': (3, 5), 'filter': (3, 1), 'spatial': (3, 9), 'kernel': (3, 2)}.items():
        with raises(f'routing.{name}: expected shape .* = {re.escape(str(good[name]))}, got {re.escape(str(wrong))}'):
            shapes(layer, inputs(), attention._replace(**{name: jnp.ones(wrong)}))
    with raises(r'routing.kernel: expected the batch axes \(3,\) of x, got shape \(1, 4\)'):
        shapes(layer, inputs(), attention._replace(kernel=jnp.ones((1, 4))))
    with raises(r'routing.kernel: expected shape \(\*batch, K\) = \(3, 4\), got None'):
        shapes(layer, inputs(), attention._replace(kernel=None))
    with raises(r'routing: expected an ODConvAttention\(channel, filter, spatial, kernel\), got '):
        shapes(layer, inputs(), jnp.ones((3, 4)))


def test_plain_odconv_refuses_groups_and_too_few_channels():
    with raises('feature_group_count: expected 1 in PlainODConv, got 2'):
        shapes(PlainODConv(6, (3, 3), feature_group_count=2), inputs())
    with raises('squeeze: expected at most the 3 channels of x, got 4'):
        shapes(PlainODConv(6, (3, 3)), inputs((2, 5, 4, 3)))


def test_router_without_a_batch_axis():
    with raises(r'x: expected \(batch, \*spatial, channels\) or \(batch, channels\), got shape \(6,\)'):
        shapes(CondConvRouting(), inputs((6,)))


def test_temperature():
    variables = shapes(DynamicConv(6, (3, 3)), inputs())
    for wrong in (0, -1.0, float('nan')):
        with raises(f'value: expected a temperature > 0, got {float(wrong)}'):
            set_temperature(variables, wrong)
    with raises(r'value: expected a scalar, got shape \(2,\)'):
        set_temperature(variables, jnp.ones(2))
    with raises(r"variables: expected a collection 'temperature', got the collections \['params'\]"):
        set_temperature({'params': variables['params']}, 2.0)
