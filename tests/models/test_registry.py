"""Names, overrides and their mistakes."""

import jax.numpy as jnp
import pytest
from flax import linen as nn

from flax_dynconv.layers import DynamicConv, ODConv
from flax_dynconv.models import MODELS, Network, create_model, list_models, static_twin


def test_every_name_constructs():
    for name in MODELS:
        assert isinstance(create_model(name, num_classes=10), Network), name


def test_the_published_names_are_there():
    names = [f'resnet{depth}' for depth in (10, 18, 20, 34, 50, 101)]
    names += [f'odconv_resnet{depth}_{k}x' for depth in (18, 34, 50, 101) for k in (1, 2, 4)]
    names += [f'dyconv_resnet{depth}_4x' for depth in (10, 18, 34, 50)]
    assert set(names) <= set(list_models())


def test_patterns():
    assert list_models('odconv_resnet50_*') == ['odconv_resnet50_1x', 'odconv_resnet50_2x', 'odconv_resnet50_4x']
    assert list_models('nothing*') == []


def test_overrides_reach_network_and_method():
    model = create_model('odconv_resnet18_4x', 7, jnp.bfloat16, width=0.5, num_kernels=2, reduction=0.25, act=nn.silu)
    assert (model.num_classes, model.dtype, model.width, model.act) == (7, jnp.bfloat16, 0.5, nn.silu)
    assert model.conv.func is ODConv
    assert model.conv.keywords == {'num_kernels': 2, 'reduction': 0.25}
    assert model.stem_conv.func is model.downsample_conv.func is nn.Conv
    assert create_model('dyconv_resnet18_4x').downsample_conv.func is DynamicConv


def test_static_twins():
    assert static_twin('dyconv_resnet50_4x') == 'resnet50'
    assert static_twin('resnet20') == 'resnet20'
    assert all(static_twin(name) in MODELS for name in MODELS)
    with pytest.raises(ValueError, match=r"'odconv_lenet_4x' has no static twin"):
        static_twin('odconv_lenet_4x')


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"got 'odconv_resnet18_4'; did you mean odconv_resnet18_4x"):
        create_model('odconv_resnet18_4')
    with pytest.raises(ValueError, match=r"got 'zzz'; list_models\(\) names all"):
        create_model('zzz')
    with pytest.raises(TypeError, match=r"no field 'drop_out'; did you mean 'dropout'\?"):
        create_model('odconv_resnet18_4x', drop_out=0.1)
    with pytest.raises(ValueError, match=r'num_classes must be an integer >= 0, got -1'):
        create_model('resnet18', num_classes=-1)
