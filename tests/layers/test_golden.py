"""Golden numbers of the reference implementations, with weights and inputs from sines (0.5 sin(0.37 i + t))."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.layers import CondConv, DynamicConv, ODConv, set_temperature
from tests.x64 import x64

# The tables give ten digits; float32 is bounded relative to the sum of absolute values.
BOUNDS = {'float64': 1e-9, 'float32': 2e-5}


def sines(shape, t, scale=0.5, offset=0.0):
    i = np.arange(np.prod(shape))
    return (offset + scale * np.sin(0.37 * i + t)).reshape(shape)


def nhwc_input():
    return np.sin(0.13 * np.arange(3 * 8 * 7 * 6)).reshape(3, 8, 7, 6).transpose(0, 2, 3, 1)


def hwio(bank):
    """(K, O, I, kh, kw) to (K, kh, kw, I, O)."""
    return bank.transpose(0, 3, 4, 2, 1)


def check(y, out_shape, total, squares, first, last, dtype):
    """y (B, H, W, C) against the table, which is of (B, C, H, W) and gives sums and end elements."""
    assert y.dtype == jnp.dtype(dtype)
    nchw = np.asarray(y, np.float64).transpose(0, 3, 1, 2)
    assert nchw.shape == out_shape
    bound, flat = BOUNDS[dtype], nchw.ravel()
    assert abs(flat.sum() - total) <= bound * max(1, np.abs(flat).sum() if dtype == 'float32' else abs(total))
    assert abs((flat**2).sum() - squares) <= bound * max(1, squares)
    assert abs(flat[0] - first) <= bound
    assert abs(flat[-1] - last) <= bound


def run(layer, variables, dtype, **kwargs):
    """Apply under jit with everything in one dtype."""
    cast = partial(jax.tree.map, lambda a: jnp.asarray(a, dtype))
    apply = jax.jit(lambda v, x: layer.apply(v, x, **kwargs))
    return apply(cast(variables), jnp.asarray(nhwc_input(), dtype))


dtypes = pytest.mark.parametrize('dtype', ['float64', 'float32'])

CONDCONV = {
    'k3 bias': (
        CondConv(12, (3, 3), padding=1, num_kernels=4),
        (4, 12, 8, 3, 3),
        ((3, 12, 7, 6), -69.71473505, 5700.729163, 0.7092655968, 2.15869796),
    ),
    'k3 s2 same': (
        CondConv(12, (3, 3), 2, 'SAME', num_kernels=8, use_bias=False),
        (8, 12, 8, 3, 3),
        ((3, 12, 4, 3), 0.6195263409, 77.54412842, 0.5170527188, 0.370696385),
    ),
    'depthwise k5 s2 same': (
        CondConv(8, (5, 5), 2, 'SAME', num_kernels=4, feature_group_count=8, use_bias=False),
        (4, 8, 1, 5, 5),
        ((3, 8, 4, 3), 3.004776498, 33.32643865, 0.4769408954, 0.3740423744),
    ),
}


@dtypes
@pytest.mark.parametrize('name', CONDCONV)
def test_condconv(name, dtype):
    layer, weight_shape, expected = CONDCONV[name]
    k, o = weight_shape[:2]
    # The flattened two-dimensional bank of timm has the same row-major order.
    params = {
        'kernel': hwio(sines(weight_shape, 2)),
        'routing': {'kernel': sines((k, 8), 0).T, 'bias': sines((k,), 1)},
    }
    if layer.use_bias:
        params['bias'] = sines((k, o), 3)
    with x64():
        check(run(layer, {'params': params}, dtype), *expected, dtype)


DYNAMIC_CONV = {
    'T 34': (34.0, True, (-4.964222662, 915.9008297, 0.4392766913, -0.3465523796)),
    'T 1': (1.0, True, (-12.94235659, 848.9877938, 0.4592560943, -0.3620630426)),
    'groups': (1.0, False, (1.979958032, 21.5158123, 0.2187198185, -0.0799639514)),
}


@dtypes
@pytest.mark.parametrize('name', DYNAMIC_CONV)
def test_dynamic_conv(name, dtype):
    temperature, bias, expected = DYNAMIC_CONV[name]
    groups, shape = (1, (3, 12, 7, 6)) if bias else (4, (3, 12, 4, 3))
    strides = 1 if bias else 2
    layer = DynamicConv(12, (3, 3), strides, 1, feature_group_count=groups, use_bias=bias, num_kernels=4)
    t = iter(range(5))
    params = {'kernel': hwio(sines((4, 12, 8 // groups, 3, 3), next(t)))}
    if bias:
        params['bias'] = sines((4, 12), next(t))
    params['routing'] = {
        'hidden': {'kernel': sines((3, 8), next(t)).T},
        'logits': {'kernel': sines((4, 3), next(t)).T, 'bias': sines((4,), next(t))},
    }
    with x64():
        variables = {'params': params, 'temperature': {'routing': {'value': np.ones(())}}}
        variables = set_temperature(variables, temperature)
        check(run(layer, variables, dtype), *(shape, *expected), dtype)


def odconv_variables(features, groups, size, num_kernels):
    """The fill of the tables: numbered in the order of the reference's state_dict, what is absent skipped."""
    t = iter(range(14))

    def head(outputs):
        kernel = sines((outputs, 16), next(t)).T
        return {'kernel': kernel, 'bias': sines((outputs,), next(t))}

    params = {'kernel': hwio(sines((num_kernels, features, 8 // groups, size, size), next(t)))}
    routing = {'hidden': {'kernel': sines((16, 8), next(t)).T}}
    routing['norm'] = {'scale': sines((16,), next(t), 0.25, 1.0), 'bias': sines((16,), next(t))}
    stats = {'mean': sines((16,), next(t)), 'var': sines((16,), next(t), 0.25, 1.0)}
    routing['channel'] = head(8)
    if not groups == 8 == features:
        routing['filter'] = head(features)
    if size > 1:
        routing['spatial'] = head(size**2)
    if num_kernels > 1:
        routing['kernel'] = head(num_kernels)
    return {
        'params': params | {'routing': routing},
        'batch_stats': {'routing': {'norm': stats}},
        'temperature': {'routing': {'value': np.ones(())}},
    }


FULL = {'features': 12, 'size': 3, 'padding': 1, 'num_kernels': 4}
ODCONV = {
    'k3 n4': (FULL, 1.0, False, ((3, 12, 7, 6), 0.3533062092, 16.39640802, 0.08299139379, -0.01884765264)),
    'k3 n4 T 30': (FULL, 30.0, False, ((3, 12, 7, 6), 0.8641358388, 14.33253641, 0.04629677796, -0.03503319504)),
    'k3 n4 train': (FULL, 1.0, True, ((3, 12, 7, 6), -0.2991929299, 21.68639798, -0.02983408857, -0.2361561231)),
    'k1 n4': (
        {'features': 12, 'size': 1, 'padding': 0, 'num_kernels': 4},
        1.0,
        False,
        ((3, 12, 7, 6), -0.02120504288, 3.02690084, 0.03110214231, -0.0005267998657),
    ),
    'k1 n1': (
        {'features': 12, 'size': 1, 'padding': 0, 'num_kernels': 1},
        1.0,
        False,
        ((3, 12, 7, 6), -0.1654095323, 26.69995936, 0.100812555, 0.0001710594781),
    ),
    'k3 n1': (
        {'features': 12, 'size': 3, 'padding': 1, 'num_kernels': 1},
        1.0,
        False,
        ((3, 12, 7, 6), 2.998548244, 41.12907627, 0.2408627853, 0.1011270333),
    ),
    'depthwise k3 s2 n4': (
        {'features': 8, 'size': 3, 'padding': 1, 'num_kernels': 4, 'groups': 8, 'strides': 2},
        1.0,
        False,
        ((3, 8, 4, 3), -0.08911360412, 1.650485362, 0.007024401824, -0.05987590803),
    ),
    'k3 s2 d2 g4 n2': (
        {'features': 12, 'size': 3, 'padding': 2, 'num_kernels': 2, 'groups': 4, 'strides': 2, 'dilation': 2},
        1.0,
        False,
        ((3, 12, 4, 3), -1.371555083, 2.685160989, 0.1479737023, -0.03795041177),
    ),
}


@dtypes
@pytest.mark.parametrize('name', ODCONV)
def test_odconv(name, dtype):
    sizes, temperature, train, expected = ODCONV[name]
    groups = sizes.get('groups', 1)
    layer = ODConv(
        sizes['features'],
        (sizes['size'],) * 2,
        sizes.get('strides', 1),
        sizes['padding'],
        kernel_dilation=sizes.get('dilation', 1),
        feature_group_count=groups,
        use_bias=False,
        num_kernels=sizes['num_kernels'],
    )
    with x64():
        variables = odconv_variables(sizes['features'], groups, sizes['size'], sizes['num_kernels'])
        variables = set_temperature(variables, temperature)
        result = run(layer, variables, dtype, mutable=['batch_stats'] if train else False)
        check(result[0] if train else result, *expected, dtype)
        if train:
            stats = jax.tree.map(np.asarray, result[1]['batch_stats']['routing']['norm'])
            mean, var = [-0.3314422595, -0.4297648439, -0.4473709367], [0.6844020390, 0.7220650210, 0.7838224344]
            np.testing.assert_allclose(stats['mean'][:3], mean, atol=BOUNDS[dtype], rtol=0)
            np.testing.assert_allclose(stats['var'][:3], var, atol=BOUNDS[dtype], rtol=0)
