"""Labels of parameters: each module's by its type, on the library's networks and on anybody's; and optax with them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import traverse_util

from flax_dynconv.layers import (
    BatchNorm,
    CondConv,
    CondConvRouting,
    DynamicConv,
    DyNetConv,
    ODConv,
    ODConvNormAct,
    PlainODConv,
    SoftmaxDyNetConv,
)
from flax_dynconv.models import LABELS, create_model, decay_mask, param_labels

X = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32)


def flat(tree):
    return traverse_util.flatten_dict(tree, sep='/')


def labelled(model, x=X, **kwargs):
    """The labels by path; they have the structure of the parameters."""
    labels = param_labels(model, x, **kwargs)
    params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, **kwargs), x)['params']
    assert jax.tree.structure(labels) == jax.tree.structure(nn.meta.unbox(params))
    assert set(jax.tree.leaves(labels)) <= set(LABELS)
    return flat(labels)


def ones_like_params(model, x):
    params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), x)['params']
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), params)


@pytest.mark.parametrize('layer', [CondConv, DynamicConv, DyNetConv, ODConv, PlainODConv, SoftmaxDyNetConv])
def test_every_layer(layer):
    labels = labelled(layer(6, (3, 3)))
    assert labels.pop('kernel') == 'kernel_bank'
    assert labels.pop('bias') == ('kernel_bank' if layer in (CondConv, DynamicConv) else 'other')
    assert labels and all(path.startswith('routing/') and label == 'attention' for path, label in labels.items())


def test_a_layer_with_its_norm():
    labels = labelled(ODConvNormAct(6, (3, 3)))
    assert labels.pop('conv/kernel') == 'kernel_bank'
    assert labels.pop('bn/scale') == labels.pop('bn/bias') == 'norm'
    assert labels['conv/routing/norm/scale'] == 'attention'
    assert set(labels.values()) == {'attention'}


def test_a_network_of_the_library():
    labels = labelled(create_model('condconv_efficientnet_b0_4e'), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    block = {path.removeprefix('blocks_6_0/'): v for path, v in labels.items() if path.startswith('blocks_6_0/')}
    assert block == {
        'routing/kernel': 'attention',
        'routing/bias': 'attention',
        **{f'{conv}/kernel': 'kernel_bank' for conv in ('expand', 'depthwise', 'project')},
        **{f'{conv}_bn/{own}': 'norm' for conv in ('expand', 'depthwise', 'project') for own in ('scale', 'bias')},
        # Channel attention, but of no kernel.
        **{f'se/{layer}/{own}': 'other' for layer in ('reduce', 'expand') for own in ('kernel', 'bias')},
    }
    assert labels['stem/kernel'] == labels['classifier/kernel'] == labels['classifier/bias'] == 'other'
    assert labels['stem_bn/scale'] == 'norm'


NORMS = {
    'batch': functools.partial(nn.BatchNorm, use_running_average=True),
    'batch, unbiased': functools.partial(BatchNorm, use_running_average=True),
    'layer': nn.LayerNorm,
    'group': functools.partial(nn.GroupNorm, num_groups=2),
    'rms': nn.RMSNorm,
    'instance': nn.InstanceNorm,
}


@pytest.mark.parametrize('norm', NORMS)
def test_every_norm(norm):
    assert set(labelled(NORMS[norm]()).values()) == {'norm'}


def test_weight_norm_and_what_it_wraps():
    assert labelled(nn.WeightNorm(CondConv(6, (1, 1), num_kernels=2, use_bias=False), variable_filter={'conv'})) == {
        'layer_instance/kernel': 'kernel_bank',
        'layer_instance/routing/bias': 'attention',
        'layer_instance/routing/kernel': 'attention',
    }
    assert labelled(nn.WeightNorm(nn.Dense(3))) == {
        'layer_instance/kernel': 'other',
        'layer_instance/bias': 'other',
        'layer_instance/kernel/scale': 'norm',
    }


class Linear(nn.Module):
    """A routing of one's own, with a norm in it; it derives from nothing of the library."""

    num_kernels: int

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(jnp.mean(x, axis=(1, 2)))
        return nn.softmax(nn.Dense(self.num_kernels)(x))


def router(num_kernels, name, **settings):
    return Linear(num_kernels, name=name)


def test_a_router_of_ones_own():
    labels = labelled(CondConv(6, (3, 3), router=router))
    assert {path for path, label in labels.items() if label == 'attention'} == {
        'routing/LayerNorm_0/scale',
        'routing/LayerNorm_0/bias',
        'routing/Dense_0/kernel',
        'routing/Dense_0/bias',
    }


class Shared(nn.Module):
    """Any network: one routing for two layers, a norm in `setup`, a parameter that is a tree, a layer called twice."""

    train: bool = False

    def setup(self):
        self.attend = CondConvRouting(num_kernels=2)
        self.first = CondConv(4, (3, 3), num_kernels=2)
        self.second = CondConv(4, (3, 3), num_kernels=2)
        self.normalise = nn.BatchNorm(use_running_average=not self.train)
        self.scales = self.param('scales', lambda key: {'scale': jnp.ones(()), 'bias': jnp.zeros(())})
        self.table = nn.Embed(5, 4)

    def __call__(self, x, *, offset):
        routing = self.attend(x)
        x = self.normalise(self.second(self.first(x, routing), routing))
        x = self.first(x, routing) * self.scales['scale'] + self.scales['bias']
        return self.table.attend(x) + offset


def test_any_network():
    labels = param_labels(Shared(train=True), X, offset=jnp.ones((1, 1, 1, 1)))
    assert flat(labels) == {
        'attend/kernel': 'attention',
        'attend/bias': 'attention',
        **{f'{conv}/{own}': 'kernel_bank' for conv in ('first', 'second') for own in ('kernel', 'bias')},
        'normalise/scale': 'norm',
        'normalise/bias': 'norm',
        'scales/scale': 'other',
        'scales/bias': 'other',
        'table/embedding': 'other',
    }


class Block(nn.Module):
    """One of each label."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(DynamicConv(x.shape[-1], (3,) * (x.ndim - 2), num_kernels=2)(x))
        return nn.Dense(4)(x)


BLOCK = {
    'DynamicConv_0/kernel': 'kernel_bank',
    'DynamicConv_0/bias': 'kernel_bank',
    'DynamicConv_0/routing/hidden/kernel': 'attention',
    'DynamicConv_0/routing/logits/kernel': 'attention',
    'DynamicConv_0/routing/logits/bias': 'attention',
    'LayerNorm_0/scale': 'norm',
    'LayerNorm_0/bias': 'norm',
    'Dense_0/kernel': 'other',
    'Dense_0/bias': 'other',
}


class Lifted(nn.Module):
    """Two blocks under a transformation of Flax."""

    transform: str

    @nn.compact
    def __call__(self, x):
        axes = {'variable_axes': {'params': 0, 'temperature': 0}, 'split_rngs': {'params': True}}
        if self.transform == 'scan':
            scan = nn.scan(lambda block, x, _: (block(x), None), length=2, **axes)
            return scan(nn.remat(Block)(name='block'), x, None)[0]
        if self.transform == 'vmap':
            return nn.vmap(Block, **axes)(name='block')(x)
        wrapped = getattr(nn, self.transform)(Block)
        return wrapped(name='other')(wrapped(name='block')(x))


@pytest.mark.parametrize('transform', ['remat', 'jit', 'vmap', 'scan'])
def test_transformed_modules(transform):
    labels = labelled(Lifted(transform))
    block = {path.removeprefix('block/'): v for path, v in labels.items() if path.startswith('block/')}
    assert block == BLOCK
    # The second call of a compiled block runs no code of its modules.
    other = {path.removeprefix('other/'): v for path, v in labels.items() if path.startswith('other/')}
    assert other == ({} if transform in ('vmap', 'scan') else BLOCK)


def test_a_scope_that_two_modules_share():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            inner = ODConv(4, (3, 3), num_kernels=2)
            nn.share_scope(self, inner)
            return inner(x) * self.param('gain', nn.initializers.ones, ())

    labels = labelled(Net())
    assert (labels['kernel'], labels['bias'], labels['gain']) == ('kernel_bank', 'other', 'other')
    assert labels['routing/norm/scale'] == 'attention'


def test_boxed_parameters_have_one_label_each():
    init = nn.with_partitioning(nn.initializers.ones, (None, None, None, 'model'))
    model = nn.Sequential([CondConv(4, (3, 3), num_kernels=2, kernel_init=init), nn.LayerNorm()])
    labels = labelled(model)
    assert labels['layers_0/kernel'] == 'kernel_bank'
    params = model.init(jax.random.key(0), jnp.ones(X.shape))['params']
    assert isinstance(params['layers_0']['kernel'], nn.Partitioned)
    optimizer = optax.multi_transform(
        dict.fromkeys(LABELS, optax.set_to_zero()) | {'kernel_bank': optax.sgd(1.0)}, param_labels(model, X)
    )
    for tree in (params, nn.meta.unbox(params)):
        updates, _ = optimizer.update(tree, optimizer.init(tree))
        moved = {path: float(np.abs(u).max()) for path, u in flat(nn.meta.unbox(updates)).items()}
        assert moved == {path: float(path == 'layers_0/kernel') for path in labels}
        assert flat(decay_mask(tree))['layers_0/kernel'] is True


class Excite(nn.Module):
    """A class that says itself what its parameters are."""

    param_label = 'attention'

    @nn.compact
    def __call__(self, x):
        return x * nn.sigmoid(nn.LayerNorm()(nn.Dense(x.shape[-1])(x)))


def test_a_class_may_name_its_label():
    labels = labelled(nn.Sequential([Excite(), nn.Dense(2)]))
    assert {path for path, label in labels.items() if label == 'attention'} == {
        f'layers_0/{path}' for path in ('Dense_0/kernel', 'Dense_0/bias', 'LayerNorm_0/scale', 'LayerNorm_0/bias')
    }

    class Wrong(Excite):
        param_label = 'gate'

    with pytest.raises(ValueError, match=r"param_label of Wrong must be one of \('attention', .*\), got 'gate'"):
        param_labels(Wrong(), X)


def test_modes_and_methods_are_passed_on():
    model = create_model('odconv_resnet8_1x')
    image = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    assert param_labels(model, image, True) == param_labels(model, image, train=False)


def test_a_model_without_parameters():
    assert param_labels(nn.Sequential([nn.relu]), X) == {}


def test_freezing_the_attention():
    model = create_model('odconv_resnet8_2x', 3, width=0.25)
    x = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    labels, params = param_labels(model, x), ones_like_params(model, x)
    optimizer = optax.multi_transform(
        dict.fromkeys(LABELS, optax.sgd(1.0)) | {'attention': optax.set_to_zero()}, labels
    )
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    moved = {path: bool(np.abs(u).max() > 0) for path, u in flat(updates).items()}
    assert moved == {path: label != 'attention' for path, label in flat(labels).items()}
    assert set(moved.values()) == {True, False}


def test_decay_of_kernels_only():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=True)(Block(name='block')(x))
            return nn.Embed(3, 4).attend(x)

    params = ones_like_params(Net(), X)
    decayed = {path for path, decay in flat(decay_mask(params)).items() if decay}
    assert decayed == {f'block/{path}' for path in BLOCK if path.endswith('kernel')}
    optimizer = optax.add_decayed_weights(0.5, mask=decay_mask)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    assert {path for path, u in flat(updates).items() if u.max() > 0} == decayed
