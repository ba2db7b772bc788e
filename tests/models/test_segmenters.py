"""Segmentation networks: published sizes, modes, maps, initialisation, dtypes, cost, labels and errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import export

from flax_dynconv.layers import resize_bilinear
from flax_dynconv.models import (
    LABELS,
    MODELS,
    SEGMENTERS,
    DMHead,
    FCNHead,
    ResNet,
    Segmenter,
    count,
    create_model,
    decay_mask,
    list_models,
    param_labels,
    preprocessing,
    static_twin,
)
from tests.models import tiny
from tests.models.tiny import quick
from tests.tolerances import assert_close

KEY = jax.random.key(0)
RGB = jax.ShapeDtypeStruct((2, 64, 48, 3), jnp.float32)
X = np.random.default_rng(1).standard_normal((4, 16, 12, 2)).astype(np.float32)


def small(**fields):
    """Two narrow blocks and a head of two filter sizes."""
    fields = {'num_classes': 3, 'width': 1 / 8, 'filter_sizes': (2, 3), 'dropout': 0.0, **fields}
    model = create_model('dmnet_resnet8', **fields)
    return model.clone(backbone=model.backbone.clone(stage_sizes=(1, 1)))


@functools.cache
def initial():
    params, rest = tiny.initial(small())
    return {**rest, 'params': params}


def shapes(model, x=RGB, **call):
    return jax.eval_shape(functools.partial(model.init_with_output, **call), KEY, x)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_published_heads():
    x = jax.ShapeDtypeStruct((1, 8, 8, 2048), jnp.float32)
    sizes = {fusion: size(shapes(DMHead(num_classes=19, fusion=fusion), x)[1]['params']) for fusion in (False, True)}
    assert sizes == {False: 27_283_987, True: 28_336_659}
    params = shapes(create_model('dmnet_resnet50'))[1]['params']
    assert size(params['decode_head']) == 27_283_987
    assert size(params['auxiliary_head']) == 9 * 1024 * 256 + 2 * 256 + 256 * 19 + 19
    # torchvision's ResNet-50 has 23,508,032 without its classifier; the stem is another.
    stem = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64)
    assert size(params['backbone']) == 23_508_032 - (49 * 3 * 64 + 2 * 64) + stem


@pytest.mark.parametrize('name', SEGMENTERS)
def test_every_name(name):
    model = create_model(name, 5, dtype=jnp.bfloat16, in_channels=3)
    logits, variables = shapes(model)
    assert (logits.shape, logits.dtype) == ((2, 64, 48, 5), jnp.float32)
    assert set(variables['params']) == {'backbone', 'decode_head', 'auxiliary_head'}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    # What follows does not depend on how many blocks a stage has.
    model = model.clone(backbone=model.backbone.clone(stage_sizes=(1,) * len(model.backbone.stage_sizes)))
    pair, _ = shapes(model, train=True)
    assert [(y.shape, y.dtype) for y in pair] == [((2, 64, 48, 5), jnp.float32)] * 2
    stride = 4 if name.endswith('resnet8') else 8
    coarse, _ = shapes(model.clone(resize=False))
    assert (coarse.shape, coarse.dtype) == ((2, 64 // stride, 48 // stride, 5), jnp.bfloat16)
    with pytest.raises(ValueError, match=r'x must have in_channels = 3 channels, got shape \(2, 8, 8, 4\)'):
        shapes(model, jnp.zeros((2, 8, 8, 4)))


def test_names_and_twins():
    assert not SEGMENTERS.keys() & MODELS.keys()
    assert not set(list_models()) & SEGMENTERS.keys()
    assert {static_twin(name) for name in SEGMENTERS} == {name for name in SEGMENTERS if name.startswith('fcn_')}
    assert create_model('dmnet_resnet50', in_channels=4).in_channels == 4 and small().in_channels is None
    assert Segmenter(backbone=nn.Conv(3, (1, 1))).in_channels is None
    assert create_model('dmnet_resnet101').num_classes == 19
    assert create_model('dmnet_resnet101').backbone.stage_sizes == (3, 4, 23, 3)
    twin = shapes(create_model('fcn_resnet18'))[1]['params']['decode_head']
    assert set(twin) == {'convs_0', 'convs_1', 'conv_cat', 'conv_seg'}
    assert twin['conv_cat']['conv']['kernel'].shape == (3, 3, 512 + 128, 128)


def test_a_name_that_was_added_has_a_twin_or_an_error(monkeypatch):
    monkeypatch.setitem(SEGMENTERS, 'mine_resnet50', SEGMENTERS['dmnet_resnet50'])
    monkeypatch.setitem(SEGMENTERS, 'mine_vgg', SEGMENTERS['dmnet_resnet50'])
    assert static_twin('mine_resnet50') == 'fcn_resnet50'
    with pytest.raises(ValueError, match=r"'mine_vgg' has no static twin among the segmentation networks"):
        static_twin('mine_vgg')


def test_fields_reach_their_part():
    model = create_model(
        'dmnet_resnet50',
        width=0.5,
        remat=True,
        drop_path=0.1,
        dropout=0.3,
        fusion=True,
        implementation='taps',
        norm=nn.LayerNorm,
        param_dtype=jnp.bfloat16,
        auxiliary=False,
    )
    backbone, head = model.backbone, model.head.keywords
    assert (backbone.width, backbone.remat, backbone.drop_path, backbone.dropout) == (0.5, True, 0.1, 0.0)
    assert (head['channels'], head['fusion'], head['implementation']) == (256, True, 'taps')
    assert (model.dropout, model.norm, backbone.norm, backbone.param_dtype) == (
        0.3,
        nn.LayerNorm,
        nn.LayerNorm,
        jnp.bfloat16,
    )
    variables = shapes(model)[1]
    assert set(variables) == {'params'} and set(variables['params']) == {'backbone', 'decode_head'}
    assert not isinstance(shapes(model, train=True)[0], tuple)


def test_modes():
    """The pair on demand, one in training too; logits at the image's size are the coarse ones, resized."""
    model, variables = small(align_corners=True), initial()

    def run(variables):
        return (
            model.apply(variables, X, with_auxiliary=True),
            model.clone(resize=False).apply(variables, X),
            model.apply(variables, X, train=True, with_auxiliary=False, mutable=['batch_stats']),
        )

    (logits, more), coarse, (one, updated) = quick(run)(variables)
    assert coarse.shape == (4, 8, 6, 3) and logits.shape == more.shape == (4, 16, 12, 3)
    assert_close(logits, resize_bilinear(coarse, (16, 12), align_corners=True))
    assert not np.allclose(logits, more)
    assert one.shape == logits.shape
    # Without the auxiliary head its statistics, and no others, stay as they are.
    same = jax.tree.map(lambda a, b: bool((a == b).all()), updated['batch_stats'], variables['batch_stats'])
    assert all(jax.tree.leaves(same.pop('auxiliary_head'))) and not any(jax.tree.leaves(same))


def test_whole_channels_are_dropped():
    """A dropped channel is dropped all over the map of one sample; the kept ones are scaled up."""
    head = FCNHead(num_classes=64, channels=64, num_convs=0, dropout=0.5)
    x = jnp.ones((3, 4, 5, 64))
    params = {'conv_seg': {'kernel': jnp.eye(64)[None, None], 'bias': jnp.zeros(64)}}
    y = np.asarray(head.apply({'params': params}, x, train=True, rngs={'dropout': KEY}))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1, :1]).all()
    assert 0.3 < (y[:, 0, 0] == 0).mean() < 0.7 and (y[0, 0, 0] != y[1, 0, 0]).any()
    np.testing.assert_array_equal(head.apply({'params': params}, x), x)


def test_initialisation():
    head = DMHead(num_classes=50, channels=64, filter_sizes=(1,))
    params = quick(head.init)(KEY, jnp.zeros((1, 2, 2, 64)))['params']
    kernel = np.asarray(params['bottleneck']['conv']['kernel'])
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert np.asarray(params['conv_seg']['kernel']).std() == pytest.approx(0.01, rel=0.05)
    assert not np.asarray(params['conv_seg']['bias']).any()
    assert params['dcm_modules_0']['filter_gen_conv']['bias'].any()


def test_the_deep_stem():
    model = ResNet((1, 1), stem='deep', features=8, num_classes=0, features_only=True)
    maps, variables = shapes(model)
    assert model.feature_strides == (2, 4, 8)
    assert [y.shape[1:] for y in maps] == [(32, 24, 8), (16, 12, 8), (8, 6, 16)]
    stem = {name: leaf['kernel'].shape for name, leaf in variables['params'].items() if 'kernel' in leaf}
    assert stem == {'stem_0': (3, 3, 3, 4), 'stem_3': (3, 3, 4, 4), 'stem_6': (3, 3, 4, 8)}
    assert {'stem_1', 'stem_4', 'stem_7'} < variables['batch_stats'].keys()
    without = model.clone(stem_map=False)
    assert without.feature_strides == (4, 8)
    assert [y.shape for y in shapes(without)[0]] == [y.shape for y in maps[1:]]
    first, same = shapes(model.clone(stage_maps=(0,)))
    assert [y.shape for y in first] == [y.shape for y in maps[:2]] and model.clone(stage_maps=[0]).feature_strides == (
        2,
        4,
    )
    assert jax.tree.map(jnp.shape, same) == jax.tree.map(jnp.shape, variables)
    for stages in ((2,), (-1,), 1):
        with pytest.raises(ValueError, match=r'stage_maps must be ints from 0 to 1 or None, got'):
            shapes(model.clone(stage_maps=stages))


def test_bfloat16():
    model, half = small(), small(dtype=jnp.bfloat16)
    y, expected = quick(lambda v: (half.apply(v, X), model.apply(v, X)))(initial())
    assert y.dtype == jnp.float32
    scale = np.abs(expected).max()
    assert_close(y / scale, expected / scale, 'bfloat16')


def test_a_dynamic_backbone():
    backbone = create_model('odconv_resnet8_2x', num_classes=0, features_only=True, width=1 / 8, stage_sizes=(1, 1))
    model = Segmenter(backbone=backbone, head=functools.partial(DMHead, channels=4), num_classes=3)
    labels = param_labels(model, X)
    params = shapes(model, X)[1]['params']
    assert jax.tree.structure(labels) == jax.tree.structure(params)
    assert set(jax.tree.leaves(labels)) == set(LABELS)
    assert set(jax.tree.leaves(labels['decode_head'])) == {'norm', 'other'}


def test_a_step_of_training_reaches_every_parameter():
    model, variables = small(), initial()
    classes = np.arange(X[..., 0].size).reshape(X.shape[:3]) % 3

    def loss(params):
        rest = {'batch_stats': variables['batch_stats']}
        pair, _ = model.apply({'params': params, **rest}, X, train=True, mutable=['batch_stats'])
        losses = [optax.softmax_cross_entropy_with_integer_labels(y, classes).mean() for y in pair]
        return losses[0] + 0.4 * losses[1]

    gradients = quick(jax.grad(loss))(variables['params'])
    dead = [path for path, g in jax.tree_util.tree_leaves_with_path(gradients) if not np.abs(g).max() > 1e-7]
    assert not dead
    mask = decay_mask(gradients)
    assert mask['decode_head']['conv_seg'] == {'kernel': True, 'bias': False}


def test_cost():
    """Of the head by hand: per filter size k the reduction, the generator and k**2 taps; bottleneck; classifier."""
    model = small()
    report = count(model, jax.ShapeDtypeStruct((1, 16, 12, 2), jnp.float32))
    assert report.parameters == size(initial()['params'])
    head = {layer.path: layer.multiply_adds for layer in report.layers if layer.path.startswith('decode_head')}
    pixels, inputs, channels = 8 * 6, 4, 8
    for i, k in enumerate((2, 3)):
        place = f'decode_head/dcm_modules_{i}'
        assert head[f'{place}/filter_gen_conv'] == k * k * inputs * channels
        assert head[f'{place}/input_redu_conv/conv'] == pixels * inputs * channels
        assert head[place] == pixels * k * k * channels
    assert head['decode_head/bottleneck/conv'] == pixels * 9 * (inputs + 2 * channels) * channels
    assert head['decode_head/conv_seg'] == pixels * channels * 3


def test_exported_for_any_batch():
    model, variables = small(), initial()
    (b,) = export.symbolic_shape('b')
    images = jax.ShapeDtypeStruct((b, *X.shape[1:]), jnp.float32)
    exported = export.export(jax.jit(model.apply))(variables, images)
    for n in (1, 3):
        assert_close(quick(exported.call)(variables, X[:n]), quick(model.apply)(variables, X[:n]))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r'num_classes must be an integer >= 1, got 0'):
        create_model('dmnet_resnet8', 0)
    with pytest.raises(ValueError, match=r"got 'dmnet_resnet52'; did you mean dmnet_resnet50"):
        create_model('dmnet_resnet52')
    with pytest.raises(TypeError, match=r"a Segmenter has no field 'droput'; did you mean 'dropout'\?"):
        create_model('dmnet_resnet8', droput=0.1)
    for depth in (20, [50], '50', True):
        expected = rf'depth must be one of \[8, 18, 50, 101\], got {re.escape(repr(depth))}'
        with pytest.raises(ValueError, match=expected):
            SEGMENTERS['dmnet_resnet8'].func(depth)
    for sizes in ((), (3, 0), 3):
        with pytest.raises(ValueError, match=r'filter_sizes: expected ints >= 1, at least one, got'):
            shapes(small(filter_sizes=sizes), X)
    with pytest.raises(ValueError, match=r'dropout must be a rate from 0 to below 1, got 1'):
        shapes(small(dropout=1), X)
    with pytest.raises(ValueError, match=r'num_convs: expected an int >= 0, got -1'):
        shapes(FCNHead(num_classes=3, num_convs=-1), X)
    with pytest.raises(ValueError, match=r'channels: expected an int >= 1, got 0'):
        shapes(FCNHead(num_classes=3, channels=0), X)
    with pytest.raises(ValueError, match=r'x must have shape \(batch, height, width, channels\), got \(4, 16\)'):
        shapes(DMHead(num_classes=3), X[..., 0, 0])
    with pytest.raises(ValueError, match=r'backbone must return its maps \(features_only=True\), .* got one array of'):
        shapes(Segmenter(backbone=create_model('resnet8')), X)
    with pytest.raises(ValueError, match=r'also the one at -9, got 3 maps'):
        shapes(small().clone(auxiliary_map=-9), X)
    with pytest.raises(ValueError, match=r"no preprocessing is known for 'dmnet_resnet8'"):
        preprocessing('dmnet_resnet8')
