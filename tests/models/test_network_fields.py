"""Fields that all networks have: what they refuse, what they do to the maps, and what is said of the maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.models import FeatureInfo, create_model, feature_info
from tests.tolerances import assert_close

GREY = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)


def test_feature_info_by_hand():
    assert feature_info(create_model('resnet18')) == ((2, 64), (4, 64), (8, 128), (16, 256), (32, 512))
    assert feature_info(create_model('resnet50', width=0.5), image_size=64)[-1] == FeatureInfo(32, 1024)
    assert feature_info(create_model('mobilenetv2_100', in_channels=1), 32) == (
        (2, 16),
        (4, 24),
        (8, 32),
        (16, 96),
        (32, 320),
    )
    assert feature_info(create_model('resnet8'), 32) == ((1, 16), (1, 16), (2, 32), (4, 64))


def test_feature_info_of_dense_networks():
    model = create_model('odconv_resnet18_1x', output_stride=8, features_only=True)
    assert [info.stride for info in feature_info(model, 32, in_channels=5)] == [2, 4, 8, 8, 8]


def test_feature_info_needs_a_network():
    with pytest.raises(TypeError, match=r'model must be a Network, got Dense'):
        feature_info(nn.Dense(3))
    with pytest.raises(ValueError, match=r'x must have in_channels = 1 channels, got shape \(1, 32, 32, 3\)'):
        feature_info(create_model('resnet8', in_channels=1), 32, in_channels=3)


@pytest.mark.parametrize('name', ['resnet8', 'mobilenetv2_050', 'shufflenetv2_050'])
@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'dropout': 1.0}, r'dropout must be a rate from 0 to below 1, got 1.0'),
        ({'drop_path': -0.1}, r'drop_path must be a rate from 0 to below 1, got -0.1'),
        ({'output_stride': 12}, r'output_stride must be one of \(4, 8, 16, 32\) or None, got 12'),
        ({'dynamic_blocks': -1}, r'dynamic_blocks must be an integer >= 0 or None, got -1'),
        ({'dynamic_blocks': True}, r'dynamic_blocks must be an integer >= 0 or None, got True'),
        ({'width': 0}, r'width must be a positive multiplier, got 0'),
        ({'in_channels': 3}, r'x must have in_channels = 3 channels, got shape \(1, 32, 32, 1\)'),
    ],
)
def test_refused_fields(name, fields, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(create_model(name, **fields).init, jax.random.key(0), GREY)


NETWORKS = {
    'basic': ('resnet10', {'stage_sizes': (1, 1, 2, 2)}),
    'bottleneck': ('resnet50', {'stage_sizes': (1, 1, 1, 2)}),
    'stride in the first 1x1': ('resnet50', {'stage_sizes': (1, 1, 1, 2), 'stride_in_1x1': True}),
    'inverted residual': ('mobilenetv2_050', {}),
    'shuffle': ('shufflenetv2_050', {'stage_sizes': (1, 1, 2)}),
}


@pytest.mark.parametrize('network', NETWORKS)
def test_a_smaller_output_stride_computes_the_same_and_more(network):
    """A dilation in place of a stride: every other value of the finer map is the coarse map's."""
    name, fields = NETWORKS[network]
    model = create_model(name, features_only=True, width=1 / 8, **fields)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 64, 64, 3)).astype(np.float32)
    variables = jax.tree.map(
        # Kernels of either sign; variances and scales positive, biases and means as it comes.
        lambda leaf: rng.uniform(0.1, 0.5, leaf.shape) * (rng.choice([-1, 1], leaf.shape) if leaf.ndim > 1 else 1),
        jax.eval_shape(model.init, jax.random.key(0), x),
    )
    variables = jax.tree.map(lambda leaf: leaf.astype(np.float32), variables)

    @functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
    def maps(variables, x):
        return model.apply(variables, x), model.clone(output_stride=8).apply(variables, x)

    coarse, fine = maps(variables, x)
    for stride, one, more in zip((2, 4, 8, 16, 32), coarse, fine, strict=True):
        step, scale = max(1, stride // 8), np.abs(one).max()
        assert scale > 0
        assert_close(more[:, ::step, ::step] / scale, one / scale)


def branch_rates(name, drop_path):
    """The rates of the dropouts that blocks hold, by the block's name, as they are called in training."""
    rates = {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout) and len(context.module.path) > 1:
            rates[context.module.path[0]] = context.module.rate
        return call(*args, **kwargs)

    model = create_model(name, drop_path=drop_path)
    with nn.intercept_methods(record):
        jax.eval_shape(functools.partial(model.init, train=True), jax.random.key(0), GREY)
    return rates


def test_stochastic_depth_of_a_resnet():
    expected = {f'layer{1 + i // 2}_{i % 2}': 0.05 * i for i in range(8)}
    assert branch_rates('resnet18', 0.4) == pytest.approx(expected)


def test_stochastic_depth_of_a_mobilenet():
    """Of 17 blocks; those without a shortcut cannot be dropped, but count."""
    expected = {'1_1': 2, '2_1': 4, '2_2': 5, '3_1': 7, '3_2': 8, '3_3': 9, '4_1': 11, '4_2': 12, '5_1': 14, '5_2': 15}
    expected = {f'blocks_{block}': 0.01 * index for block, index in expected.items()}
    assert branch_rates('mobilenetv2_100', 0.17) == pytest.approx(expected)


def test_head_scales_is_checked():
    model = create_model('mobilenetv2_050', head_scales='sometimes')
    message = r"head_scales must be one of \('always', 'never', 'above_one'\), got 'sometimes'"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), GREY)
