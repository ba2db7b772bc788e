"""DyNet's networks: published costs, one head of coefficients for a block, channels and groups, both forms equal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.layers import DyNetConv, DyNetRouting
from flax_dynconv.models import (
    BasicBlock,
    Bottleneck,
    DyMobileBlock,
    InvertedResidual,
    ShuffleBlock,
    count,
    create_model,
    dynet_mobilenetv2,
    dynet_resnet,
    list_models,
    static_conv,
    static_twin,
)
from tests.tolerances import assert_close

IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
SMALL = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
STATIC = {'conv': static_conv, 'router': None}
NAMES = list_models('dynet_*')
MILLION, BINARY = 10**6, 2**20

quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


@functools.cache
def parameters(name, **overrides):
    """Shapes by path, of the network `name`."""
    model = create_model(name, **overrides)
    params = jax.eval_shape(model.init, jax.random.key(0), SMALL)['params']
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(params).items()}


@functools.cache
def cost(name, static=False):
    return count(create_model(name, **(STATIC if static else {})), IMAGE)


# (published, its unit, published saving of the abstract over which figure). The 1730 of the static ResNet-18 settle
# the unit of the ResNets; MobileNetV2's and ShuffleNetV2's own figures are quoted, not counted.
PUBLISHED = {
    'dynet_resnet18': (550, BINARY, 0.672, 1730),
    'dynet_resnet50': (1075, BINARY, 0.713, 3890),
    'dynet_shufflenetv2_100': (88, BINARY, 0.370, 146),
    'dynet_shufflenetv2_150': (171, BINARY, None, None),
    'dynet_mobilenetv2': (129, MILLION, 0.547, 298),
}


def test_the_unit_of_the_resnets():
    for name, published in (('resnet18', 1730), ('resnet50', 3890)):
        assert cost(name).multiply_adds == pytest.approx(published * BINARY, rel=0.003)


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_published_cost(name):
    """The table's figure without coefficients and mixing, the abstract's with them."""
    published, unit, saving, of = PUBLISHED[name]
    static, dynamic = cost(name, static=True), cost(name)
    assert static.multiply_adds == pytest.approx(published * unit, rel=0.03)
    if saving:
        assert dynamic.multiply_adds == pytest.approx((1 - saving) * of * unit, rel=0.03)


@pytest.mark.parametrize('name', NAMES)
def test_what_the_method_adds(name):
    """Five more kernels for each and the heads; the multiply-adds of the heads and of mixing six kernels."""
    static, dynamic = cost(name, static=True), cost(name)
    shapes = parameters(name)
    bank = sum(np.prod(shape) for shape in shapes.values() if len(shape) == 5)
    heads = {path: shape for path, shape in shapes.items() if 'routing' in path}
    assert dynamic.parameters - static.parameters == bank * 5 / 6 + sum(np.prod(s) for s in heads.values())
    products = sum(np.prod(shape) for path, shape in heads.items() if path[-1] == 'kernel')
    assert dynamic.multiply_adds - static.multiply_adds == bank + products


@pytest.mark.parametrize('name', NAMES)
def test_the_coefficients_of_a_block_are_predicted_once(name):
    shapes = parameters(name)
    banks, inputs = {}, {}
    for path, shape in shapes.items():
        if len(shape) == 5:
            assert shape[0] == 6
            banks.setdefault(path[0], []).append(shape[-1])
            if path[1] in ('conv1', 'expand'):  # the first convolution, which reads the block's input
                inputs[path[0]] = shape[-2]
    # Outside the blocks nothing is dynamic, inside them all but the shortcuts and left branches.
    blocks = {path[0] for path in shapes if path[0].startswith(('layer', 'stage', 'blocks'))}
    assert blocks == banks.keys()
    dynamic = [path for path, s in shapes.items() if path[0] in blocks and path[-1] == 'kernel' and len(s) == 5]
    static = [path for path, s in shapes.items() if path[0] in blocks and path[-1] == 'kernel' and len(s) == 4]
    assert all(path[1] in ('downsample_0', 'left_depthwise', 'left_project') for path in static)
    assert not [path for path in shapes if path[0] in blocks and path[-1] == 'bias' and path[1].startswith('conv')]
    # One head, beside the convolutions.
    assert {path[:2] for path in shapes if 'routing' in path} == {(block, 'routing') for block in blocks}
    assert len(dynamic) == sum(len(widths) for widths in banks.values())
    for block, widths in banks.items():
        head = shapes[block, 'routing', 'logits', 'kernel']
        assert head[1] == 6 * sum(widths)
        if 'resnet' in name:
            assert shapes[block, 'routing', 'hidden', 'kernel'] == (inputs[block], max(8, inputs[block] // 4))
            assert head[0] == max(8, inputs[block] // 4)
        else:  # MobileNetV3's first block has no expansion and the stem's 16 channels
            assert head[0] == inputs.get(block, 16)


@pytest.mark.parametrize('width', [1.0, 0.5])
def test_dy_mobile_has_groups_of_six_and_no_expansion(width):
    shapes = parameters('dynet_mobilenetv2', width=width)
    blocks = {path[0] for path in shapes if path[0].startswith('blocks')}
    assert len(blocks) == 17
    for block in blocks:
        features = {shapes[block, name, 'kernel'][-1] for name in ('expand', 'depthwise', 'project')}
        assert len(features) == 1 and features.pop() % 6 == 0
        assert shapes[block, 'depthwise', 'kernel'][1:4] == (3, 3, 6)
    widths = [shapes[f'blocks_{s}_0', 'project', 'kernel'][-1] for s in range(7)]
    assert widths == ([18, 24, 36, 66, 96, 162, 324] if width == 1 else [12, 18, 18, 36, 48, 84, 162])


def test_dy_mobile_costs_what_the_paper_says_of_a_block():
    """The ratio of MobileNetV2's block to its own, C to C channels: 6 - 135 / (C + 27)."""
    for channels in (24, 96):
        x = jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.float32)
        ours, theirs = (count(cls(channels, 6 * channels), x) for cls in (DyMobileBlock, InvertedResidual))
        assert theirs.multiply_adds / ours.multiply_adds == pytest.approx(6 - 135 / (channels + 27))


def test_dy_resnets_have_half_of_the_channels():
    for depth, expansion in ((18, 1), (50, 4)):
        half, full = parameters(f'dynet_resnet{depth}'), parameters(f'resnet{depth}')
        assert half['conv1', 'kernel'] == full['conv1', 'kernel']
        last = f'conv{3 if depth == 50 else 2}'
        for stage in range(1, 5):
            block = f'layer{stage}_1'
            assert half[block, last, 'kernel'][-1] * 2 == full[block, last, 'kernel'][-1] == 32 * 2**stage * expansion
        assert half['layer1_0', 'downsample_0', 'kernel'] == (1, 1, 64, 32 * expansion)


def test_narrow_dy_resnets_keep_eight_hidden_units():
    for width, expected in ((0.25, {8, 16}), (1.0, {8, 16, 32, 64})):
        shapes = parameters('dynet_resnet18', width=width)
        assert {shape[-1] for path, shape in shapes.items() if path[-2:] == ('hidden', 'kernel')} == expected


def test_dy_shuffle_filters_a_quarter():
    for name, widths in (('100', (28, 58, 116)), ('150', (44, 88, 176))):
        dynamic, static = (parameters(f'{prefix}shufflenetv2_{name}') for prefix in ('dynet_', ''))
        for stage, width in zip((2, 3, 4), widths, strict=True):
            assert dynamic[f'stage{stage}_1', 'expand', 'kernel'] == (6, 1, 1, width, width)
            assert dynamic[f'stage{stage}_1', 'depthwise', 'kernel'] == (6, 3, 3, 2, width)
            for layer in ('expand', 'depthwise', 'project'):
                first = static[f'stage{stage}_0', layer, 'kernel']
                assert dynamic[f'stage{stage}_0', layer, 'kernel'] == (6, *first)


def test_the_static_mobilenets_v3_are_kept():
    for size in ('small', 'large'):
        name = f'dynet_mobilenetv3_{size}'
        static, twin = cost(name, static=True), cost(static_twin(name))
        assert (static.parameters, static.multiply_adds) == (twin.parameters, twin.multiply_adds)


@pytest.mark.parametrize('name', [name for name in NAMES if not name.endswith(('50', 'large'))])
def test_overrides(name):
    """One kernel each: the coefficients scale the output channels. Half of the width: much less of everything."""
    narrow, wide = parameters(name, num_kernels=1, width=0.5), parameters(name)
    assert {shape[0] for shape in narrow.values() if len(shape) == 5} == {1}
    assert narrow.keys() == wide.keys()
    narrow, wide = (sum(np.prod(shape[-4:]) for shape in s.values() if len(shape) >= 4) for s in (narrow, wide))
    assert narrow < 0.6 * wide


class Plain(nn.Module):
    """A block in training form or mixed first, with no norm, from the same parameters."""

    make: functools.partial
    implementation: str
    reduction: float | None = None

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(DyNetConv, num_kernels=3, implementation=self.implementation)
        router = functools.partial(DyNetRouting, num_kernels=3, reduction=self.reduction)
        return self.make(conv=conv, router=router, norm=lambda name: lambda y: y, name='block')(x)


STATIC_SHORTCUT = {'act': nn.relu, 'downsample_conv': static_conv}
BLOCKS = {
    'Dy-mobile': Plain(functools.partial(DyMobileBlock, 16, 0, strides=2), ''),
    'Dy-shuffle': Plain(functools.partial(ShuffleBlock, 12, right_share=1 / 4), ''),
    'Dy-ResNet18': Plain(functools.partial(BasicBlock, 8, 2, **STATIC_SHORTCUT), '', 1 / 4),
    'Dy-ResNet50': Plain(functools.partial(Bottleneck, 4, 1, **STATIC_SHORTCUT), '', 1 / 4),
    'MobileNetV3': Plain(functools.partial(InvertedResidual, 12, 24, squeeze=8), ''),
}


@pytest.mark.parametrize('name', BLOCKS)
def test_both_forms_of_a_block_are_equal_and_every_parameter_learns(name):
    x = jax.random.normal(jax.random.key(1), (3, 6, 6, 12))
    x = x * jnp.reshape(jnp.arange(1.0, 4.0), (3, 1, 1, 1)) + 1  # samples whose coefficients differ

    def loss(params, block):
        y = block.apply({'params': params}, x)
        return jnp.sum(y * jnp.cos(jnp.reshape(jnp.arange(float(y.size)), y.shape))), y

    @quick
    def both():
        forms = [BLOCKS[name].clone(implementation=form) for form in ('features_out', 'patches')]
        params = forms[0].init(jax.random.key(0), x)['params']
        return [jax.value_and_grad(loss, has_aux=True)(params, form) for form in forms]

    ((_, trained), gradient), ((_, mixed), again) = both()
    assert_close(trained, mixed)
    flat, other = (traverse_util.flatten_dict(g, sep='/') for g in (gradient, again))
    assert [path for path, g in flat.items() if not np.any(g)] == []
    assert {path for path in flat if 'logits' in path} == {f'block/routing/logits/{p}' for p in ('kernel', 'bias')}
    for path, g in flat.items():
        assert_close(g, other[path])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'squeeze must be 0, a DyMobileBlock has no squeeze-and-excitation; got 4'):
        jax.eval_shape(DyMobileBlock(8, 8, squeeze=4).init, jax.random.key(0), jnp.zeros((1, 6, 6, 8)))
    with pytest.raises(TypeError, match=r"a MobileNet has no field 'kernels'"):
        dynet_mobilenetv2(kernels=2)
    with pytest.raises(ValueError, match=r'depth must be one of .*, got 19'):
        dynet_resnet(19)
