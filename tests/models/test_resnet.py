"""The ResNets: seams, modes, dtypes, names, strides and initialisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.layers import BatchNorm, CondConv, DynamicConv, DyNetConv, NoNorm, ODConv
from flax_dynconv.models import Bottleneck, ResNet, create_model
from tests.tolerances import assert_close

TINY = {'features': 4, 'num_classes': 3, 'stem': 'cifar'}
X = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype(np.float32)


def quick(function):
    """Compiled without optimisation: these programs run once."""
    return jax.jit(function, compiler_options={'xla_backend_optimization_level': 0})


def initial(model, seed=0):
    return quick(model.init)(jax.random.key(seed), X)


def shapes(model, x=X):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), x))


def test_submodules_are_named_as_in_torchvision():
    params = shapes(create_model('resnet50', width=1 / 16), jnp.zeros((1, 32, 32, 3)))['params']
    assert {k for k in params if not k.startswith('layer')} == {'conv1', 'bn1', 'fc'}
    assert [sum(k.startswith(f'layer{s}_') for k in params) for s in (1, 2, 3, 4)] == [3, 4, 6, 3]
    first = {'conv1', 'bn1', 'conv2', 'bn2', 'conv3', 'bn3'}
    assert set(params['layer1_0']) == first | {'downsample_0', 'downsample_1'}
    assert set(params['layer1_1']) == first
    assert params['layer4_0']['downsample_0']['kernel'].shape == (1, 1, 64, 128)
    assert params['fc']['kernel'].shape == (128, 1000)


@pytest.mark.parametrize('name', ['odconv_resnet50_4x', 'dyconv_resnet50_4x'])
def test_where_each_method_is_dynamic(name):
    params = shapes(create_model(name, width=1 / 16), jnp.zeros((1, 32, 32, 3)))['params']
    flat = traverse_util.flatten_dict(params)
    banks = {'/'.join(path[:-1]) for path, leaf in flat.items() if path[-1] == 'kernel' and leaf.ndim == 5}
    convolutions = {'/'.join(p[:-1]) for p, leaf in flat.items() if p[-1] == 'kernel' and leaf.ndim >= 4}
    static = {'conv1'} | {c for c in convolutions if 'downsample' in c and name.startswith('odconv')}
    assert convolutions - banks == static
    assert len(banks) == 48 if name.startswith('odconv') else 52
    assert not any(path[-1] == 'bias' and path[-2].startswith('conv') for path in flat)


@pytest.mark.parametrize(
    ('stem', 'size', 'expected'), [('imagenet', 64, (2, 2)), ('imagenet', 33, (2, 2)), ('cifar', 32, (4, 4))]
)
def test_strides(stem, size, expected):
    model = ResNet((1, 1, 1, 1), num_classes=0, features=2, stem=stem)
    _, shown = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((1, size, size, 3)), capture_intermediates=True)
    )
    assert shown['intermediates']['layer4_0']['__call__'][0].shape[1:3] == expected


def test_pooled_features_without_classifier():
    model = create_model('resnet18', num_classes=0, width=0.125)
    y, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 32, 3))))
    assert y.shape == (2, 64)
    assert 'fc' not in variables['params']


SEAMS = {
    'static': {},
    'dy-cnn': {'conv': DynamicConv, 'downsample_conv': DynamicConv},
    'condconv': {'conv': functools.partial(CondConv, num_kernels=2)},
    'dynet': {'conv': functools.partial(DyNetConv, num_kernels=2)},
    'odconv, group norm': {'conv': ODConv, 'norm': functools.partial(nn.GroupNorm, num_groups=2), 'act': nn.silu},
    'odconv, no routing norm': {'conv': functools.partial(ODConv, norm=NoNorm), 'norm': nn.BatchNorm},
}


@pytest.mark.parametrize('seam', SEAMS)
def test_seams(seam):
    model = ResNet((1, 1), **{**TINY, 'features': 8}, **SEAMS[seam])

    @quick
    def step(variables):
        def loss(params):
            y, updates = model.apply({**variables, 'params': params}, X, train=True, mutable=['batch_stats'])
            return jnp.sum(y**2), (y, updates)

        (_, (y, updates)), gradient = jax.value_and_grad(loss, has_aux=True)(variables['params'])
        return y, updates, gradient

    variables = initial(model, seed=1)
    y, updates, gradient = step(variables)
    assert y.shape == (4, 3)
    still = [path for path, g in traverse_util.flatten_dict(gradient, sep='/').items() if not np.abs(g).sum() > 0]
    assert still == []
    assert jax.tree.structure(updates.get('batch_stats', {})) == jax.tree.structure(variables.get('batch_stats', {}))


def test_the_mode_is_train_and_nothing_else():
    """Mutable statistics alone do not put ODConv's routing into training mode inside a network."""
    model = ResNet((1,), **TINY, conv=ODConv)
    variables = initial(model)
    plain = quick(lambda v: model.apply(v, X, train=False))(variables)
    mutable, updates = quick(lambda v: model.apply(v, X, train=False, mutable=['batch_stats']))(variables)
    assert_close(mutable, plain, bound=0.0)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, updates['batch_stats'], variables['batch_stats'])))


def test_a_frozen_norm_stays_frozen():
    model = ResNet((1,), **TINY, norm=functools.partial(BatchNorm, use_running_average=True))
    variables = initial(model)
    assert_close(model.apply(variables, X, train=True), model.apply(variables, X), bound=0.0)


def test_dropout_only_in_training():
    model = ResNet((1,), **TINY, dropout=0.5, norm=functools.partial(nn.GroupNorm, num_groups=2))
    variables = initial(model)
    a, b = (model.apply(variables, X, train=True, rngs={'dropout': jax.random.key(i)}) for i in (1, 2))
    assert not np.allclose(a, b)
    assert_close(model.apply(variables, X), model.apply(variables, X), bound=0.0)


def test_bfloat16_compute_with_float32_parameters():
    model, half = (ResNet((1,), **TINY, conv=ODConv, dtype=dtype) for dtype in (None, jnp.bfloat16))
    variables = initial(model)
    y, expected = quick(lambda v: (half.apply(v, X), model.apply(v, X)))(variables)
    assert y.dtype == jnp.bfloat16
    assert_close(y, expected)
    halved = shapes(ResNet((1,), **TINY, conv=ODConv, param_dtype=jnp.bfloat16))['params']
    assert {leaf.dtype for leaf in jax.tree.leaves(halved)} == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize('width', [0.5, 0.75, 1.5])
def test_width_scales_every_stage(width):
    params = shapes(create_model('resnet18', width=width), jnp.zeros((1, 32, 32, 3)))['params']
    assert [params[f'layer{s}_0']['conv1']['kernel'].shape[-1] for s in (1, 2, 3, 4)] == [
        round(64 * width) * 2**s for s in range(4)
    ]


def test_initialisation():
    params = initial(ResNet((1,), features=256, stem='cifar'))['params']
    kernel = np.asarray(params['layer1_0']['conv2']['kernel'])
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)
    assert np.abs(kernel).max() > 4 * kernel.std()  # normal, not truncated
    assert np.asarray(params['fc']['kernel']).std() == pytest.approx(0.01, rel=0.01)
    assert not np.asarray(params['fc']['bias']).any()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"stem must be one of \('imagenet', 'deep', 'cifar'\), got 'mnist'"):
        shapes(ResNet((1,), stem='mnist'))
    with pytest.raises(ValueError, match=r'width must be a positive multiplier, got 0'):
        shapes(ResNet((1,), width=0))
    with pytest.raises(ValueError, match=r'x must have shape \(batch, height, width, channels\), got \(8, 8, 3\)'):
        shapes(ResNet((1,)), X[0])
    with pytest.raises(ValueError, match=r'depth must be one of .*, got 19'):
        from flax_dynconv.models import resnet

        resnet(19)


@pytest.mark.parametrize('stride_in_1x1', [False, True])
def test_the_bottleneck_strides_where_it_says(stride_in_1x1):
    model = ResNet((1, 1), block=Bottleneck, stride_in_1x1=stride_in_1x1, **TINY)
    _, shown = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), X, capture_intermediates=True))
    block = shown['intermediates']['layer2_0']
    assert block['conv1']['__call__'][0].shape[1] == (4 if stride_in_1x1 else 8)
    assert block['conv2']['__call__'][0].shape[1] == 4
