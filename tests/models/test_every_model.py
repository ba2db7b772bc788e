"""Every name of `MODELS`: outputs, dtypes, maps and modes from shapes alone, and each family trained for a step."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from flax_dynconv.models import MODELS, VGG, create_model, static_twin
from tests.jaxprs import equations
from tests.models.tiny import IMAGES, initial, quick, tiny
from tests.tolerances import assert_close

KEY = jax.random.key(0)
GREY = jax.ShapeDtypeStruct((2, 72, 40, 1), jnp.float32)


def plan(name):
    """The name without its kernels and its width: models of one plan differ in numbers only."""
    return re.sub(r'_(\d+[ex]|\d{3})(?=_|$)', '', name)


def family(name):
    """The plan without its depth or size: one method on one kind of network. Static ResNets have two kinds of block."""
    name = re.sub(r'(_b\d|_small|_large)$', '', plan(name))
    name = re.sub(r'^resnet(50|101)$', 'bottleneck', name)
    name = re.sub(r'^vgg\d+_bn$', 'vgg', name)
    return re.sub(r'resnet\d+$', 'resnet', name)


def first_of_each(names, kind):
    chosen = {}
    for name in names:
        chosen.setdefault(kind(name), name)
    return list(chosen.values())


def strides_of(name):
    """Strides of the maps at the usual output stride."""
    if name.startswith('vgg'):
        return (1, 2, 4, 8, 16)
    return (1, 1, 2, 4) if name in SMALL else (2, 4, 8, 16, 32)


# For small images: their stem has stride 1 and there is no pooling.
SMALL = [name for name in MODELS if re.search(r'resnet(8|20)(_|$)', name)]
PLANS = first_of_each(MODELS, plan)
STATIC = [name for name in PLANS if static_twin(name) == name]
FAMILIES = {family(name): name for name in first_of_each([n for n in MODELS if n not in SMALL], family)}


def create(name, *args, **fields):
    """The network with two blocks at most in each stage: further ones change no shape."""
    model = create_model(name, *args, **fields)
    if hasattr(model, 'stage_sizes'):
        return model.clone(stage_sizes=tuple(min(2, size) for size in model.stage_sizes))
    return model.clone(stages=tuple(stage._replace(repeats=min(2, stage.repeats)) for stage in model.stages))


@functools.cache
def logits_and_variables(name):
    """Of the network in bfloat16 for grey images; whole, if it is static or the first of its family."""
    make = create_model if name in (*STATIC, *FAMILIES.values()) else create
    model = make(name, 10, jnp.bfloat16, in_channels=1)
    return jax.eval_shape(model.init_with_output, KEY, GREY)


@pytest.mark.parametrize('name', MODELS)
def test_logits_dtypes_and_channels(name):
    logits, variables = logits_and_variables(name)
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    with pytest.raises(ValueError, match=r'x must have in_channels = 1 channels, got shape \(2, 72, 40, 3\)'):
        jax.eval_shape(create(name, in_channels=1).init, KEY, jax.ShapeDtypeStruct((2, 72, 40, 3), jnp.float32))


def check_maps(model, strides):
    """The maps of `features_only` have the strides that are named."""
    model = model.clone(features_only=True)
    assert model.feature_strides == strides
    maps, _ = jax.eval_shape(model.init_with_output, KEY, GREY)
    # The VGGs pool without zeros around the map.
    up = 0 if isinstance(model, VGG) else 1
    assert [y.shape[1:3] for y in maps] == [((72 + up * (s - 1)) // s, (40 + up * (s - 1)) // s) for s in strides]


@pytest.mark.parametrize('name', MODELS)
def test_strides_are_named(name):
    assert create_model(name).feature_strides == strides_of(name)


@pytest.mark.parametrize('name', PLANS)
def test_maps_have_their_strides(name):
    model = create(name)
    check_maps(model, model.feature_strides)


@pytest.mark.parametrize('output_stride', [8, 16])
@pytest.mark.parametrize('name', [name for name in STATIC if name not in SMALL])
def test_output_stride(name, output_stride):
    model = create(name, output_stride=output_stride)
    check_maps(model, tuple(min(stride, output_stride) for stride in strides_of(name)))


@pytest.mark.parametrize('name', STATIC)
def test_pooled_features(name):
    logits, variables = logits_and_variables(name)
    classifier = variables['params'].get('fc', variables['params'].get('classifier'))
    features = jax.tree.leaves(classifier['kernel'])[0].shape[0]
    pooled, own = jax.eval_shape(create(name, 0).init_with_output, KEY, GREY)
    assert pooled.shape[0] == logits.shape[0]
    assert pooled.ndim == 2 and pooled.dtype == jnp.float32
    assert not {'fc', 'classifier'} & set(own['params'])
    assert {'hidden', 'hidden_1'} & set(variables['params']) or pooled.shape[1] == features


@pytest.mark.parametrize('name', STATIC)
def test_remat_changes_no_shape(name):
    plain, again = (
        jax.eval_shape(create(name, 10, remat=remat).init_with_output, KEY, GREY) for remat in (False, True)
    )
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, again)


CLASSES = np.arange(8) % 3


def objective(model):
    """Loss and gradient in training mode, as one program of params, the other variables and the rng of dropout."""

    def loss(params, rest, rng):
        variables = {**rest, 'params': params}
        logits, _ = model.apply(variables, IMAGES, train=True, mutable=['batch_stats'], rngs={'dropout': rng})
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, CLASSES))

    return quick(jax.value_and_grad(loss))


# Where no activation stands between a norm and a static convolution before the next norm, that one takes the mean of
# each channel away and with it the bias of the first. (A dynamic convolution shifts every sample differently.)
FIRST, LAST = 'blocks_0_0/project_bn/bias', 'blocks_1_0/project_bn/bias'
LEFT = {f'stage{stage}_0/left_depthwise_bn/bias' for stage in (2, 3)}
RIGHT = {f'stage{stage}_0/depthwise_bn/bias' for stage in (2, 3)}
TAKEN_AWAY = {
    'mobilenetv2': {FIRST, LAST},
    'condconv_mobilenetv2': {LAST},
    'efficientnet': {FIRST, LAST},
    'condconv_efficientnet': {LAST},
    'mnasnet_a1': {FIRST, LAST},
    'condconv_mnasnet_a1': {LAST},
    'mobilenetv3': {FIRST, LAST},
    'shufflenetv2': LEFT | RIGHT,
    'dynet_mobilenetv2': {LAST},
    'dynet_shufflenetv2': LEFT,
    'dynet_mobilenetv3': {LAST},
    # A bias, and the mean that the next norm takes away.
    'vgg': {'stage1_0/conv/bias', 'stage2_0/conv/bias'},
}


@pytest.mark.parametrize('name', FAMILIES.values(), ids=FAMILIES)
def test_a_gradient_for_every_parameter_and_a_step_lowers_the_loss(name):
    model = tiny(name)
    params, rest = initial(model)
    step = objective(model)
    before, gradient = step(params, rest, KEY)
    flat = traverse_util.flatten_dict(gradient, sep='/')
    assert all(np.isfinite(g).all() for g in flat.values())
    sizes = {path: np.abs(g).max() for path, g in flat.items()}
    # Float32 leaves 2e-7 of the largest where there is none; the smallest of the others have 1e-4.
    noise = 1e-5 * max(sizes.values())
    assert {path for path, size in sizes.items() if not size > noise} == TAKEN_AWAY.get(family(name), set())
    scale = 0.05 / sum(float(np.sum(np.square(g))) for g in flat.values()) ** 0.5
    after, _ = step(jax.tree.map(lambda p, g: p - scale * g, params, gradient), rest, KEY)
    assert after < before


@pytest.mark.parametrize('field', ['drop_path', 'dropout'])
def test_rates_act_in_training_only(field):
    model = tiny('resnet8', **{field: 0.5})
    params, rest = initial(model)
    variables = {**rest, 'params': params}

    @quick
    def outputs(variables):
        trained = [
            model.apply(variables, IMAGES, train=True, mutable=['batch_stats'], rngs={'dropout': jax.random.key(i)})[0]
            for i in (1, 2)
        ]
        return trained, model.apply(variables, IMAGES), model.clone(**{field: 0.0}).apply(variables, IMAGES)

    (one, other), evaluated, without = outputs(variables)
    assert not np.allclose(one, other)
    assert_close(evaluated, without, bound=0.0)


def test_remat_keeps_the_gradients():
    model = tiny('condconv_resnet18_8x', dropout=0.2, drop_path=0.2).clone(stage_sizes=(1,))
    params, rest = initial(model)
    plain, again = (objective(m)(params, rest, KEY) for m in (model, model.clone(remat=True)))
    assert_close(again[0], plain[0])
    jax.tree.map(assert_close, again[1], plain[1])


@pytest.mark.parametrize('name', ['resnet50', 'shufflenetv2_100', 'mobilenetv3_small', 'dmnet_resnet8'])
def test_remat_recomputes_every_block(name):
    plain, again = (create_model(name, 10, remat=remat) for remat in (False, True))
    variables = jax.eval_shape(plain.init, KEY, GREY)
    counts = [
        sum(
            e.primitive.name in ('checkpoint', 'remat', 'remat2')
            for e in equations(jax.make_jaxpr(m.apply)(variables, GREY).jaxpr)
        )
        for m in (plain, again)
    ]
    body = variables['params'].get('backbone', variables['params'])
    blocks = [key for key in body if re.match(r'(layer|blocks_|stage)\d', key)]
    assert counts == [0, len(blocks)] and blocks
