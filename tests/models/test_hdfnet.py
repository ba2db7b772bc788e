"""Networks for salient objects: published sizes, structure, modes, encoders of the zoo, dtypes, export and errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from jax import export

from flax_dynconv.models import (
    LABELS,
    SALIENCY_NETWORKS,
    HDFNet,
    count,
    create_model,
    dynamic_kernels,
    hdfnet,
    param_labels,
    with_encoder_weights,
)
from tests.models.tiny import quick
from tests.tolerances import assert_close

KEY = jax.random.key(0)
RNG = np.random.default_rng(1)
SIZE = (4, 20, 16)
IMAGE, DEPTH = (RNG.standard_normal((*SIZE, n)).astype(np.float32) for n in (3, 1))
SHAPES = tuple(jax.ShapeDtypeStruct((2, 64, 96, n), jnp.float32) for n in (3, 1))


def small(**fields):
    """Three stages of one narrow convolution each, so that one level of two makes filters."""
    fields = {'width': 1 / 4, 'channels': 16, 'dilations': (2,), 'stage_sizes': (1, 1, 1), **fields}
    return SALIENCY_NETWORKS['hdfnet_vgg8'](**fields)


def shapes(model, inputs=SHAPES, **call):
    return jax.eval_shape(functools.partial(model.init_with_output, **call), KEY, *inputs)


@functools.cache
def initial(model=None):
    """Random parameters and the other variables; drawn here, for compiling the initialisation takes longer."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1] == 'kernel':
            return rng.normal(0, (2 * leaf.shape[-1] / leaf.size) ** 0.5, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, {'bias': 0.1, 'mean': 0.0}.get(path[-1], 1.0), np.float32)

    return traverse_util.path_aware_map(draw, shapes(model or small(), (IMAGE, DEPTH))[1])


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ('name', 'parameters'),
    [('hdfnet_vgg16', 44_148_129), ('hdfnet_vgg19', 54_772_641), ('hdfnet_resnet50', 153_192_001)],
)
def test_published_parameters(name, parameters):
    params = shapes(SALIENCY_NETWORKS[name]())[1]['params']
    assert size(params) == parameters
    if name == 'hdfnet_vgg16':
        assert size(params['encoder']) + size(params['depth_encoder']) == 29_445_120


@pytest.mark.parametrize('name', SALIENCY_NETWORKS)
def test_every_name(name):
    model = SALIENCY_NETWORKS[name](width=0.5, dtype=jnp.bfloat16, remat=True)
    logits, variables = shapes(model, train=True)
    assert (logits.shape, logits.dtype) == ((2, 64, 96, 1), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    params = variables['params']
    dynamic = [level for level in params if level.startswith('selfdc')]
    # Four maps of the small ResNets, of which two are as large as the image, five of the others.
    assert dynamic == (['selfdc_2', 'selfdc_3'] if 'resnet8' in name else ['selfdc_2', 'selfdc_3', 'selfdc_4'])
    assert params['depth_encoder'].keys() == params['encoder'].keys()


def test_levels():
    """Two results have half the channels; where the finest map is smaller than the image a convolution follows."""
    params = shapes(SALIENCY_NETWORKS['hdfnet_vgg16'](dynamic_levels=1))[1]['params']
    assert [name for name in params if name.startswith('selfdc')] == ['selfdc_4']
    features = {name: leaf['conv']['kernel'].shape[2:] for name, leaf in params.items() if name.startswith('upconv')}
    assert features == {
        'upconv_4': (64, 64),
        'upconv_3': (64, 64),
        'upconv_2': (64, 64),
        'upconv_1': (64, 32),
        'upconv_0': (32, 32),
    }
    assert params['trans_0']['kernel'].shape == (1, 1, 64, 32)
    params = shapes(hdfnet('resnet18', channels=24))[1]['params']
    features = {name: leaf['conv']['kernel'].shape[2:] for name, leaf in params.items() if name.startswith('upconv')}
    assert (
        features['upconv_1'] == (24, 24) and features['upconv_0'] == (24, 12) and features['upconv_image'] == (12, 12)
    )
    assert params['depth_trans_4']['fuse_main']['conv']['kernel'].shape == (3, 3, 512, 24)
    without = shapes(hdfnet('resnet18', dynamic_levels=0))[1]['params']
    assert not any(name.startswith(('selfdc', 'depth_trans')) for name in without)


def test_fields_reach_their_part():
    model = hdfnet(
        'odconv_resnet18_4x',
        num_kernels=2,
        width=0.5,
        remat=True,
        norm=nn.LayerNorm,
        implementation='taps',
        output_stride=16,
    )
    for encoder, channels in ((model.encoder, 3), (model.depth_encoder, 1)):
        assert (encoder.width, encoder.remat, encoder.norm, encoder.in_channels) == (0.5, True, nn.LayerNorm, channels)
        assert encoder.conv.keywords['num_kernels'] == 2 and encoder.feature_strides == (2, 4, 8, 16, 16)
    assert (model.channels, model.implementation, model.remat, model.norm) == (32, 'taps', True, nn.LayerNorm)
    with pytest.raises(TypeError, match=r"no field 'dilation'"):
        hdfnet('resnet8', dilation=3)
    with pytest.raises(ValueError, match=r"got 'vgg16'; did you mean"):
        hdfnet('vgg16')


def test_probabilities_and_kernels():
    model, variables = small(), initial()
    look = quick(
        lambda v: (dynamic_kernels(model, v, IMAGE, DEPTH), model.clone(probabilities=True).apply(v, IMAGE, DEPTH))
    )
    (logits, kernels), probabilities = look(variables)
    assert_close(probabilities, 1 / (1 + np.exp(-np.asarray(logits))))
    assert logits.std() > 0.01
    assert {path: k.shape for path, k in kernels.items()} == {'selfdc_2/branch_2': (4, 5, 4, 3, 3, 4)}
    kernel = kernels['selfdc_2/branch_2']
    # Positions and samples have their own.
    assert np.ptp(kernel, axis=(1, 2)).max() > 1e-3 and np.ptp(kernel, axis=0).max() > 1e-3


def test_depth_matters_through_the_kernels_alone():
    """With the last convolution of the generator at zero, depth has no say; else it has, and samples do not mix."""
    model, variables = small(), initial()
    flat = traverse_util.flatten_dict(variables)
    blind = {path: np.zeros_like(leaf) if 'generate_kernel_2' in path else leaf for path, leaf in flat.items()}
    other = DEPTH.copy()
    other[1] *= -3
    apply = quick(model.apply)
    seeing = apply(variables, IMAGE, DEPTH), apply(variables, IMAGE, other)
    np.testing.assert_array_equal(seeing[0][0], seeing[1][0])
    assert np.abs(seeing[0][1] - seeing[1][1]).max() > 1e-3
    blind = traverse_util.unflatten_dict(blind)
    np.testing.assert_array_equal(apply(blind, IMAGE, DEPTH), apply(blind, IMAGE, other))


def objective(model):
    """Loss with new statistics, and gradients, in training mode."""

    def loss(params, stats):
        variables = {'params': params, 'batch_stats': stats}
        logits, new = model.apply(variables, IMAGE, DEPTH, train=True, mutable=['batch_stats'])
        return (jax.nn.softplus(logits) - (IMAGE[..., :1] > 0.3) * logits).mean(), new

    return quick(jax.value_and_grad(loss, has_aux=True))


def double_step(model):
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), initial())
        return jax.device_get(objective(model)(variables['params'], variables['batch_stats']))


@pytest.mark.slow
def test_remat_changes_no_number():
    jax.tree.map(assert_close, double_step(small(remat=True)), double_step(small()))


def test_a_step_of_training_reaches_every_parameter():
    """All but the biases that the next norm takes away, in float64."""
    (_, new), gradients = double_step(small())
    flat = traverse_util.flatten_dict(gradients, sep='/')
    largest = max(np.abs(g).max() for g in flat.values())
    dead = {path for path, g in flat.items() if not np.abs(g).max() > 1e-9 * largest}
    assert dead == {f'{name}/stage{i}_0/conv/bias' for name in ('encoder', 'depth_encoder') for i in (1, 2, 3)}
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), new['batch_stats'], initial()['batch_stats'])
    assert all(jax.tree.leaves(changed))


def test_bfloat16():
    model, half = small(), small(dtype=jnp.bfloat16)
    y, expected = quick(lambda v: (half.apply(v, IMAGE, DEPTH), model.apply(v, IMAGE, DEPTH)))(initial())
    assert y.dtype == jnp.float32
    scale = np.abs(expected).max()
    assert_close(y / scale, expected / scale, 'bfloat16')


def test_encoders_of_the_zoo():
    """One that is dynamic, another kind for the depth, maps of other strides; labels by kind of parameter."""
    fields = {'features_only': True, 'width': 1 / 8}
    rgb = create_model('odconv_resnet8_2x', 0, in_channels=3, **fields)
    model = HDFNet(encoder=rgb, depth_encoder=create_model('resnet8', 0, in_channels=1, **fields), channels=8)
    logits, variables = shapes(model, (IMAGE, DEPTH))
    assert logits.shape == (*SIZE, 1)
    labels = param_labels(model, IMAGE, DEPTH)
    assert jax.tree.structure(labels) == jax.tree.structure(variables['params'])
    assert set(jax.tree.leaves(labels['encoder'])) == set(LABELS)
    assert set(jax.tree.leaves(labels['selfdc_3'])) == {'norm', 'other'}
    assert shapes(hdfnet('mobilenetv2_100', width=0.5, channels=8))[0].shape == (2, 64, 96, 1)


def test_initialisation_of_the_depth_stem():
    """As PyTorch initialises a convolution of one channel, the bias too; that of the image as torchvision's."""
    encoder, depth = (getattr(small(), name) for name in ('encoder', 'depth_encoder'))
    params = [
        quick(m.clone(width=16.0).init)(KEY, x)['params']['stage1_0']['conv']
        for m, x in ((encoder, IMAGE), (depth, DEPTH))
    ]
    kernel, bias = np.asarray(params[1]['kernel']), np.asarray(params[1]['bias'])
    assert 0.32 < np.abs(kernel).max() <= 1 / 3 and 0.3 < np.abs(bias).max() <= 1 / 3
    assert not params[0]['bias'].any()
    assert np.asarray(params[0]['kernel']).std() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.05)


def test_weights_of_encoders():
    variables = initial()
    classifier = create_model('vgg8_bn', 7, width=1 / 4, stage_sizes=(1, 1, 1))
    weights = jax.tree.map(lambda leaf: np.full(leaf.shape, 5.0), jax.eval_shape(classifier.init, KEY, IMAGE))
    found = with_encoder_weights(variables, weights)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, variables)
    old, new = (traverse_util.flatten_dict(tree, sep='/') for tree in (variables, found))
    kept = {path for path in new if np.array_equal(old[path], new[path])}
    first = 'params/depth_encoder/stage1_0/conv/'
    assert kept == {path for path in new if 'encoder/' not in path} | {first + 'kernel', first + 'bias'}
    assert all((new[path] == 5).all() and new[path].dtype == np.float32 for path in set(new) - kept)
    broken = {**weights, 'params': {**weights['params'], 'stage2_0': {'conv': {'kernel': np.ones((3, 3, 8, 8))}}}}
    with pytest.raises(ValueError, match=r"'params/stage2_0/conv/kernel' of shape \(3, 3, 4, 8\), got \(3, 3, 8, 8\)"):
        with_encoder_weights(variables, broken)
    with pytest.raises(ValueError, match=r"'params/stage2_0/conv/bias' of shape \(8,\), got none"):
        with_encoder_weights(variables, broken)
    with pytest.raises(ValueError, match=r"expected a module 'encoder', got \['stage1_0'"):
        with_encoder_weights({'params': {'stage1_0': weights['params']['stage1_0']}}, weights)


def test_exported_for_any_batch():
    model, variables = small(), initial()
    (b,) = export.symbolic_shape('b')
    inputs = [jax.ShapeDtypeStruct((b, *x.shape[1:]), jnp.float32) for x in (IMAGE, DEPTH)]
    exported = export.export(jax.jit(model.apply))(variables, *inputs)
    expected = quick(model.apply)(variables, IMAGE, DEPTH)
    for batch in (1, 3):
        assert_close(exported.call(variables, IMAGE[:batch], DEPTH[:batch]), expected[:batch])


def test_cost():
    """Of one pyramid by hand: the nine taps of each branch on a map of 16 by 24, 16 channels."""
    report = count(
        SALIENCY_NETWORKS['hdfnet_vgg16'](), *(jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for x in SHAPES)
    )
    assert report.parameters == 44_148_129
    costs = {layer.path: layer.multiply_adds for layer in report.layers}
    for branch in (1, 3, 5):
        assert costs[f'selfdc_2/branch_{branch}'] == 9 * 16 * 24 * 16


def test_mistakes_are_named():
    def run(model, *inputs):
        shapes(model, inputs)

    with pytest.raises(
        ValueError, match=r'image must have shape \(batch, height, width, channels\), got \(20, 16, 3\)'
    ):
        run(small(), IMAGE[0], DEPTH)
    with pytest.raises(
        ValueError, match=r'depth must have shape \(batch, height, width, channels\), got \(4, 20, 16\)'
    ):
        run(small(), IMAGE, DEPTH[..., 0])
    with pytest.raises(
        ValueError, match=r'depth must have the batch, height and width of image .* got \(4, 20, 15, 1\)'
    ):
        run(small(), IMAGE, DEPTH[:, :, 1:])
    with pytest.raises(
        ValueError, match=r'depth must have 1 channels, as depth_encoder says, got shape \(4, 20, 16, 3\)'
    ):
        run(small(), IMAGE, IMAGE)
    for channels in (2, 9, 8.0):
        with pytest.raises(ValueError, match=rf'channels must be an even integer >= 4, got {channels}'):
            run(small(channels=channels), IMAGE, DEPTH)
    with pytest.raises(ValueError, match=r'dynamic_levels must be an integer >= 0, got -1'):
        run(small(dynamic_levels=-1), IMAGE, DEPTH)
    with pytest.raises(ValueError, match=r'dilations: expected different ints >= 1, at least one, got \(\)'):
        run(small(dilations=()), IMAGE, DEPTH)
    plain = create_model('resnet8', 3)
    with pytest.raises(
        ValueError, match=r'^encoder must return at least two maps \(features_only=True\), got one array'
    ):
        run(HDFNet(encoder=plain, depth_encoder=plain.clone(in_channels=1)), IMAGE, DEPTH)
    maps = create_model('resnet8', features_only=True)
    with pytest.raises(ValueError, match=r'depth_encoder must return maps of the shapes of encoder, \[\(20, 16, 16'):
        run(HDFNet(encoder=maps, depth_encoder=maps.clone(width=0.5, in_channels=1)), IMAGE, DEPTH)
    with pytest.raises(ValueError, match=r'x must have a height and width of at least 4, got shape \(4, 3, 16, 3\)'):
        run(small(), IMAGE[:, :3], DEPTH[:, :3])
    with pytest.raises(ValueError, match=r'drop_path must be 0, for there are no branches to drop, got 0.1'):
        run(small(drop_path=0.1), IMAGE, DEPTH)
