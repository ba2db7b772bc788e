"""CondInst as a whole: names, backbones of the zoo, modes, mask networks of any shape, gradients, export, shardings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.models import (
    INSTANCE_NETWORKS,
    BasicBlock,
    CondInst,
    condinst,
    count,
    create_model,
    decay_mask,
    flatten_maps,
    instance_masks,
    param_labels,
)
from flax_dynconv.models.network import batch_norm
from tests.compiled.programs import collectives
from tests.models.tiny import quick
from tests.tolerances import assert_close

KEY = jax.random.key(0)
RNG = np.random.default_rng(1)
IMAGES = RNG.standard_normal((8, 32, 48, 3)).astype(np.float32)
SHAPE = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32)


class Patches(nn.Module):
    """A backbone that compiles quickly: two convolutions of patches, each with a norm."""

    feature_strides = (8, 16)
    act: object = nn.relu

    @nn.compact
    def __call__(self, x, train=False):
        maps = []
        for i, stride in enumerate((8, 2)):
            x = nn.Conv(4, (stride, stride), (stride, stride), use_bias=False, name=f'conv_{i}')(x)
            x = self.act(batch_norm(use_running_average=not train, name=f'bn_{i}')(x))
            maps.append(x)
        return tuple(maps)


def small(**fields):
    """Two levels of few channels."""
    sizes = {'strides': (8, 16), 'sizes_of_interest': (64, 128), 'channels': 32, 'tower_convs': 1}
    branch = {'branch_channels': 4, 'branch_convs': 1, 'head_depth': 2, 'num_classes': 3}
    return CondInst(**{'backbone': Patches(), **sizes, **branch, **fields})


def shapes(model, images=SHAPE, **call):
    return jax.eval_shape(functools.partial(model.init_with_output, **call), KEY, images)


@functools.cache
def initial(model=None):
    """Random parameters and the other variables, so that no map is all but constant."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1] == 'kernel':
            return rng.normal(0, (2 * leaf.shape[-1] / leaf.size) ** 0.5, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, {'bias': 0.1, 'mean': 0.0}.get(path[-1], 1.0), np.float32)

    return traverse_util.path_aware_map(draw, shapes(model or small(), IMAGES)[1])


def masks_of_all(model, maps):
    """The logits of the masks of all locations."""
    flat = flatten_maps(maps, model.strides, model.sizes_of_interest)
    batch, n = maps.mask_features.shape[0], len(flat.levels)
    where = jnp.broadcast_to(flat.locations, (batch, n, 2)), jnp.broadcast_to(flat.scales, (batch, n))
    return instance_masks(maps.mask_features, flat.parameters, *where, channels=model.layer_channels, chunk=8)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(('name', 'backbone'), [('condinst_resnet50', 23_508_032), ('condinst_resnet101', 42_500_160)])
def test_published_parameters(name, backbone):
    """ResNet without its classifier, pyramid, head with controller, mask branch."""
    parts = {key: size(tree) for key, tree in shapes(INSTANCE_NETWORKS[name]())[1]['params'].items()}
    heads = {'fpn': 3_868_672, 'fcos_head': 4_920_666 + 389_545, 'mask_branch': 1_477_384}
    assert parts == {'backbone': backbone, **heads}


@pytest.mark.parametrize('name', [name for name in INSTANCE_NETWORKS if name != 'condinst_resnet101'])
def test_every_name(name):
    model = INSTANCE_NETWORKS[name](num_classes=5, semantic=True, dtype=jnp.bfloat16, width=0.5)
    maps, variables = shapes(model, train=True)
    sizes = [(-(-64 // s), -(-96 // s)) for s in model.strides]
    for levels, channels in zip(maps[:4], (5, 4, 1, 169), strict=True):
        assert [y.shape for y in levels] == [(2, *size, channels) for size in sizes]
    assert (maps.mask_features.shape, maps.semantic.shape) == ((2, 8, 12, 8), (2, 8, 12, 5))
    assert {y.dtype for y in jax.tree.leaves(maps)} == {jnp.dtype('float32')}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert model.backbone.dtype == jnp.bfloat16


def test_how_the_published_networks_differ_from_torchvision():
    """The stride is in the first convolution of a block, and the norms of the backbone are frozen: by default."""
    caffe, torchvision = condinst('resnet50'), condinst('resnet50', stride_in_1x1=False, frozen_norm=False)
    assert (caffe.backbone.stride_in_1x1, caffe.frozen_norm) == (True, True)
    assert (torchvision.backbone.stride_in_1x1, torchvision.frozen_norm) == (False, False)


@pytest.mark.parametrize(
    ('name', 'fields'),
    [
        ('mobilenetv2_100', {}),
        pytest.param('condconv_efficientnet_b0_4e', {}, marks=pytest.mark.slow),
        pytest.param('dynet_shufflenetv2_100', {}, marks=pytest.mark.slow),
        ('vgg16_bn', {}),
        ('dyconv_resnet18_4x', {'output_stride': 16}),
    ],
)
def test_backbones_of_the_zoo(name, fields):
    """Where a backbone ends at stride 16 the pyramid makes the level of stride 32."""
    model = condinst(name, **{'num_classes': 2, 'channels': 32, 'width': 0.5, **fields})
    maps, variables = shapes(model)
    assert [y.shape[1:3] for y in maps.boxes] == [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
    ends = 16 if name == 'vgg16_bn' or fields else 32
    assert ('top_block_p5' in variables['params']['fpn']) == (ends == 16)


@pytest.mark.parametrize(
    ('fields', 'channels', 'length'),
    [
        ({}, (10, 8, 8, 1), 169),
        ({'mask_channels': 16}, (18, 8, 8, 1), 233),
        ({'relative_coordinates': False}, (8, 8, 8, 1), 153),
        ({'head_depth': 1}, (10, 1), 11),
        ({'head_depth': 4, 'head_channels': 16}, (10, 16, 16, 16, 1), 10 * 16 + 2 * 256 + 16 + 3 * 16 + 1),
    ],
)
def test_mask_networks_of_any_shape(fields, channels, length):
    model = small(**{'head_depth': 3, **fields})
    assert (model.layer_channels, model.num_parameters) == (channels, length)
    maps, _ = shapes(model)
    assert maps.parameters[0].shape[-1] == length and maps.mask_features.shape[-1] == model.mask_channels


def test_images_of_any_size():
    """Maps have the sizes of the strides, rounded up."""
    backbone = create_model('resnet18', 0, features_only=True, width=1 / 8)
    model = small(backbone=backbone, strides=(8, 16, 32), sizes_of_interest=(64, 128, 256))
    maps, _ = shapes(model, jax.ShapeDtypeStruct((1, 100, 75, 3), jnp.float32))
    assert [y.shape[1:3] for y in maps.logits] == [(13, 10), (7, 5), (4, 3)]
    assert maps.mask_features.shape == (1, 13, 10, 8)


@pytest.mark.parametrize('frozen', [True, False])
def test_frozen_norms(frozen):
    """Training leaves the statistics of the backbone as they are, and uses them; those of the mask branch move."""
    model, variables = small(frozen_norm=frozen), initial()
    train = quick(functools.partial(model.apply, train=True, mutable=['batch_stats']))
    maps, new = train(variables, IMAGES)

    def moved(part):
        pairs = zip(*(jax.tree.leaves(tree['batch_stats'][part]) for tree in (variables, new)), strict=True)
        return [not np.array_equal(a, b) for a, b in pairs]

    assert all(moved('mask_branch')) and any(moved('backbone')) != frozen
    # The head has no statistics: what it returns shows those of the backbone alone.
    evaluated = quick(model.apply)(variables, IMAGES)
    distance = np.abs(maps.logits[0] - evaluated.logits[0]).max()
    assert distance < 1e-5 if frozen else distance > 1e-3


def test_semantic_head():
    assert shapes(small())[0].semantic is None
    maps, variables = shapes(small(semantic=True))
    assert maps.semantic.shape == (2, 8, 12, 3)
    assert {'seg_head_0', 'seg_head_1', 'logits'} < set(variables['params']['mask_branch'])


def smooth():
    """Without the backbone's kinks; those of the head cannot be taken out. A norm of one channel would hide a bias."""
    return small(backbone=Patches(act=nn.softplus), channels=64, semantic=True)


def loss_of(model, rest, images, weights):
    """A sum over everything that comes out, masks too, in training mode."""

    def loss(params):
        maps, _ = model.apply({'params': params, **rest}, images, train=True, mutable=['batch_stats'])
        outputs = [*jax.tree.leaves(maps), 0.1 * masks_of_all(model, maps)]
        return sum((y * w.astype(y.dtype)).sum() for y, w in zip(outputs, weights, strict=True))

    return loss


def test_gradients_against_float64():
    """They reach every parameter, and are those of a central difference of float64 in a direction through all."""
    model, images = smooth(), IMAGES[:2]
    variables = initial(model)
    params, rest = variables['params'], {'batch_stats': variables['batch_stats']}
    outputs = jax.eval_shape(lambda v: (m := model.apply(v, images), masks_of_all(model, m)), variables)
    weights = [RNG.standard_normal(leaf.shape).astype(np.float32) for leaf in jax.tree.leaves(outputs)]
    found = quick(jax.grad(loss_of(model, rest, images, weights)))(params)
    for path, g in traverse_util.flatten_dict(found).items():
        assert np.abs(g).max() > 1e-4, path
    with jax.enable_x64(True):
        params, rest, images, weights = jax.tree.map(
            lambda a: np.asarray(a, np.float64), (params, rest, images, weights)
        )
        rng = np.random.default_rng(3)
        direction = jax.tree.map(lambda a: 1e-2 * rng.standard_normal(a.shape), params)
        loss = loss_of(model.clone(param_dtype=jnp.float64), rest, images, weights)
        along = quick(lambda t: loss(jax.tree.map(lambda a, d: a + t * d, params, direction)))
        step = 1e-6
        slope = float(along(step) - along(-step)) / (2 * step)
    pairs = list(zip(*map(jax.tree.leaves, (found, direction)), strict=True))
    terms = [(np.asarray(g, np.float64) * d).sum() for g, d in pairs]
    assert abs(sum(terms) - slope) < 1e-5 * sum(map(abs, terms))


def test_half_types():
    """A pass in bfloat16 is the one in float32 but for its rounding."""
    variables = initial()
    maps, half = (quick(small(dtype=dtype).apply)(variables, IMAGES[:2]) for dtype in (None, jnp.bfloat16))
    for exact, rounded in zip(jax.tree.leaves(maps), jax.tree.leaves(half), strict=True):
        assert rounded.dtype == jnp.float32
        assert_close(rounded, exact, 'bfloat16')


def test_labels_and_cost():
    model = small()
    params = initial()['params']
    labels, decay = param_labels(model, IMAGES), decay_mask(params)
    assert labels['mask_branch']['refine_0']['bn'] == {'scale': 'norm', 'bias': 'norm'}
    assert labels['fcos_head']['cls_tower_1'] == {'scale': 'norm', 'bias': 'norm'}
    assert decay['fcos_head']['scales_0'] == {'scale': False}
    assert decay['fcos_head']['controller'] == {'kernel': True, 'bias': False}
    report = count(model, jax.ShapeDtypeStruct((1, 32, 48, 3), jnp.float32))
    assert report.parameters == size(params)
    costs = {layer.path: layer.multiply_adds for layer in report.layers}
    locations = 4 * 6 + 2 * 3
    assert costs['fcos_head/controller'] == locations * 9 * 32 * model.num_parameters
    assert costs['fpn/fpn_lateral3'] == 4 * 6 * 4 * 32


def test_exported_for_any_batch():
    model, variables = small(), initial()
    (b,) = export.symbolic_shape('b')
    images = jax.ShapeDtypeStruct((b, *IMAGES.shape[1:]), jnp.float32)
    exported = export.export(jax.jit(model.apply))(variables, images)
    for n in (1, 3):
        expected = quick(model.apply)(variables, IMAGES[:n])
        for mine, theirs in zip(quick(exported.call)(variables, IMAGES[:n])[:4], expected[:4], strict=True):
            for a, b in zip(mine, theirs, strict=True):
                assert_close(a, b)


def test_a_batch_sharded_step_holds_no_gather():
    """Only sums cross the devices: of gradients and of batch statistics."""
    model = small()
    variables = initial()

    def loss(params, stats, images):
        maps, new = model.apply({'params': params, 'batch_stats': stats}, images, train=True, mutable=['batch_stats'])
        outputs = [*jax.tree.leaves(maps), 0.1 * masks_of_all(model, maps)]
        return sum(jax.nn.sigmoid(y).mean() for y in outputs), new

    step = quick(jax.value_and_grad(loss, has_aux=True))
    values = variables['params'], variables['batch_stats'], IMAGES
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    with jax.set_mesh(mesh):
        placed = jax.device_put(values, (whole, whole, split))
        compiled = step.lower(*placed).compile()
        actual = compiled(*placed)
    assert set(collectives(compiled)) == {'all-reduce'}
    expected = step(*values)
    scale = max(np.abs(g).max() for g in jax.tree.leaves(expected[1]))
    for mine, theirs in zip(jax.tree.leaves(actual[1]), jax.tree.leaves(expected[1]), strict=True):
        assert np.abs(np.asarray(mine) - np.asarray(theirs)).max() <= 1e-4 * scale


def test_where_settings_go():
    """norm and dtypes to both, other fields to whom they belong; names of backbones keep their own defaults."""
    norm = functools.partial(batch_norm, momentum=0.5)
    model = condinst('resnet18', norm=norm, param_dtype=jnp.float64, drop_path=0.25, mask_channels=4, channels=96)
    assert model.norm is model.backbone.norm is norm
    assert model.param_dtype == model.backbone.param_dtype == jnp.float64
    assert (model.backbone.drop_path, model.mask_channels, model.channels) == (0.25, 4, 96)
    assert (model.strides, model.frozen_norm, model.backbone.block) == ((8, 16, 32), False, BasicBlock)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"name must be a known model, got 'resnet52'"):
        condinst('resnet52')
    with pytest.raises(TypeError, match=r"a ResNet has no field 'mask_chanels'"):
        condinst('resnet8', mask_chanels=8)
    with pytest.raises(
        ValueError, match=r'images must have shape \(batch, height, width, channels\), got \(32, 48, 3\)'
    ):
        shapes(small(), IMAGES[0])
    for strides in ((8, 32), (6, 12), (8, 8), (), 8):
        with pytest.raises(ValueError, match=r'strides: expected powers of 2, each twice the one before, got'):
            shapes(small(strides=strides))
    for sizes in ((64,), (64, 0), (64, 128, 256)):
        with pytest.raises(ValueError, match=r'sizes_of_interest: expected a positive one for each of strides'):
            shapes(small(sizes_of_interest=sizes))
    with pytest.raises(ValueError, match=r'head_depth: expected an int >= 1, got 0'):
        shapes(small(head_depth=0))
    with pytest.raises(ValueError, match=r'backbone must return its maps \(features_only=True\), got one array of'):
        shapes(small(backbone=create_model('resnet8')))
    with pytest.raises(
        ValueError, match=r'backbone must have a map of stride 8, the first of strides, has \(1, 2, 4\)'
    ):
        shapes(small(backbone=create_model('resnet8', features_only=True)))
