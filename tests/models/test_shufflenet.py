"""ShuffleNetV2: its cost, its shuffle, its two branches, its modes and its mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.layers import CondConv, CondConvRouting, DynamicConv
from flax_dynconv.models import ShuffleBlock, ShuffleNetV2, count, create_model, shufflenetv2
from flax_dynconv.models.shufflenet_block import channel_shuffle, right_channels

IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
SMALL = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
TINY = {'stage_features': (8, 16), 'stage_sizes': (2, 1), 'stem_features': 4, 'head_features': 12, 'num_classes': 3}

quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def shapes(model, x=SMALL):
    return jax.eval_shape(model.init, jax.random.key(0), x)


# Parameters and billions of multiply-adds of torchvision's networks, and the paper's millions.
PUBLISHED = {
    'shufflenetv2_050': (1_366_792, 0.040, 41),
    'shufflenetv2_100': (2_278_604, 0.145, 146),
    'shufflenetv2_150': (3_503_624, 0.296, 299),
    'shufflenetv2_200': (7_393_996, 0.583, 591),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_cost_is_the_published_one(name):
    """Within 1.5 % of the paper's: its released network has other widths in the first block of the first stage."""
    parameters, billions, millions = PUBLISHED[name]
    report = count(create_model(name), IMAGE)
    assert report.parameters == parameters
    assert round(report.multiply_adds / 1e9, 3) == billions
    assert report.multiply_adds == pytest.approx(1e6 * millions, rel=0.015)


@pytest.mark.parametrize('groups', [2, 3])
def test_the_shuffle_is_that_of_channels_first_networks(groups):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6 * groups))
    first = np.moveaxis(x, -1, 1).reshape(2, groups, 6, 3, 5)
    expected = first.transpose(0, 2, 1, 3, 4).reshape(2, 6 * groups, 3, 5)
    found = channel_shuffle(jnp.asarray(x, jnp.float32), groups)
    assert np.array_equal(found, np.moveaxis(expected, 1, -1).astype(np.float32))


@pytest.mark.parametrize('share', [1 / 2, 1 / 3, 1 / 4, 1 / 8])
def test_the_depthwise_convolution_costs_the_same_on_every_share(share):
    for features in (48, 116, 232, 704):
        channels, seen = right_channels(features, share)
        assert channels % seen == 0 and channels <= features * share
        assert channels * seen <= features // 2
        if features * share % seen == 0 and (features // 2) % channels == 0:
            assert channels * seen == features // 2


class NoNorm:
    """A norm that changes nothing, so that a dropped branch shows."""

    def __init__(self, name):
        self.name = name

    def __call__(self, x):
        return x


def test_what_passes_by_and_what_is_dropped():
    """Even channels come from the left, unchanged; odd ones are the right branch, dropped or scaled up."""
    block = ShuffleBlock(8, norm=NoNorm, drop_path=0.5)
    x = jax.random.normal(jax.random.key(1), (16, 5, 5, 8))
    rngs = {'dropout': jax.random.key(2)}

    @quick
    def outputs():
        y, variables = block.init_with_output(jax.random.key(0), x)
        return y, block.clone(train=True).apply(variables, x, rngs=rngs)

    y, training = outputs()
    assert np.array_equal(y[..., ::2], x[..., :4]) and np.array_equal(training[..., ::2], x[..., :4])
    right, kept = np.asarray(y[..., 1::2]), np.asarray(training[..., 1::2])
    dropped = [not sample.any() for sample in kept]
    assert 0 < sum(dropped) < 16
    for sample, full, gone in zip(kept, right, dropped, strict=True):
        assert gone or np.allclose(sample, 2 * full)


@pytest.mark.parametrize('output_stride', [None, 16, 8, 4])
def test_the_maps_have_the_strides_that_they_are_said_to_have(output_stride):
    model = create_model('shufflenetv2_100', features_only=True, output_stride=output_stride)
    maps, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 64, 64, 3))))
    assert tuple(64 // y.shape[1] for y in maps) == model.feature_strides
    assert model.feature_strides == tuple(min(s, output_stride or 32) for s in (2, 4, 8, 16, 32))
    assert [y.shape[-1] for y in maps] == [24, 24, 116, 232, 464]
    assert 'head' not in variables['params']


def test_dilation_replaces_the_stride():
    """At an output stride of 8 the kernels after the first dropped stride are spread by 2, then by 4."""
    shapes(create_model('shufflenetv2_100', output_stride=8, conv=(conv := Seen())))
    assert [pair[0] for name, pair in conv.seen if name == 'depthwise'] == [1] * 5 + [2] * 8 + [4] * 3


class Seen:
    """A constructor of static convolutions that remembers the names and dilations that it is asked for."""

    def __init__(self):
        self.seen = []

    def __call__(self, features, kernel_size, strides, padding, kernel_dilation, feature_group_count, use_bias, name):
        self.seen.append((name, kernel_dilation))
        return nn.Conv(
            features,
            kernel_size,
            strides,
            padding,
            kernel_dilation=kernel_dilation,
            feature_group_count=feature_group_count,
            use_bias=use_bias,
            name=name,
        )


def test_pooled_features_and_width():
    model = create_model('shufflenetv2_100', num_classes=0, width=0.5)
    y, variables = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 64, 64, 3))))
    assert y.shape == (2, 1024) and 'classifier' not in variables['params']
    widths = [variables['params'][f'stage{s}_1']['project']['kernel'].shape[-1] for s in (2, 3, 4)]
    assert widths == [28, 58, 116]  # halves of 56, 116 and 232: multiples of 4


def test_seams_reach_their_convolutions_and_no_others():
    params = shapes(shufflenetv2(0.5, conv=functools.partial(DynamicConv, num_kernels=2), dynamic_blocks=5))['params']
    dynamic = {path[0] for path in traverse_util.flatten_dict(params) if 'routing' in path}
    assert dynamic == {'stage3_7', 'stage4_0', 'stage4_1', 'stage4_2', 'stage4_3'}
    assert params['stage4_0']['left_project']['kernel'].ndim == 4
    assert params['stage4_0']['project']['kernel'].ndim == 5


def test_the_router_sees_the_right_branch():
    params = shapes(shufflenetv2(conv=CondConv, router=functools.partial(CondConvRouting, num_kernels=8)))['params']
    assert params['stage2_0']['routing']['kernel'].shape == (24, 8)
    assert params['stage2_1']['routing']['kernel'].shape == (58, 8)
    assert {path[1] for path in traverse_util.flatten_dict(params) if 'routing' in path} == {'routing'}


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'size must be one of \[0.5, 1.0, 1.5, 2.0\], got 3'):
        shufflenetv2(3)
    with pytest.raises(TypeError, match=r"a ShuffleNetV2 has no field 'stage_feature'; did you mean 'stage_features'"):
        shufflenetv2(stage_feature=(8, 16, 32))
    with pytest.raises(ValueError, match=r'right_share must be above 0 and at most 0.5, got 0.75'):
        shapes(ShuffleNetV2(**TINY, right_share=0.75))
    with pytest.raises(ValueError, match=r'x must have in_channels = 1 channels, got shape \(2, 64, 64, 3\)'):
        shapes(ShuffleNetV2(**TINY, in_channels=1))
    with pytest.raises(ValueError, match=r'x must have features = 12 channels to be split, got shape \(2, 64, 64, 3\)'):
        shapes(ShuffleBlock(12))
    with pytest.raises(ValueError, match=r'x must have a multiple of groups = 2 channels, got shape \(1, 3\)'):
        channel_shuffle(jnp.ones((1, 3)))
