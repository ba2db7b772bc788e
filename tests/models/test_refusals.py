"""What no network can have is refused with the name of the field, what was expected and what came."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import CondConv
from flax_dynconv.models import create_model

X = jnp.zeros((1, 32, 32, 3))

MISTAKES = {
    'width inf': ({'width': float('inf')}, r'width must be a positive multiplier, got inf'),
    'width text': ({'width': '1'}, r"width must be a positive multiplier, got '1'"),
    'dropout none': ({'dropout': None}, r'dropout must be a rate from 0 to below 1, got None'),
    'drop_path one': ({'drop_path': 1.0}, r'drop_path must be a rate from 0 to below 1, got 1.0'),
    'stride': ({'output_stride': 8.0}, r'output_stride must be one of \(4, 8, 16, 32\) or None, got 8.0'),
    'blocks': ({'dynamic_blocks': -1}, r'dynamic_blocks must be an integer >= 0 or None, got -1'),
    'norm': ({'norm': None}, r'norm must be callable, such as NoNorm, got None'),
    'act': ({'act': 'relu'}, r"act must be callable, such as nn.relu, got 'relu'"),
    'conv': ({'conv': nn.Conv}, r'router must be None where conv is nn.Conv, which takes no routing'),
    'partial conv': (
        {'conv': functools.partial(nn.Conv, use_bias=False)},
        r'router must be None where conv is nn.Conv',
    ),
    'no kernels': ({'num_kernels': 0}, r'num_kernels: expected an int >= 1, got 0'),
    'half kernels': ({'num_kernels': 1.5}, r'num_kernels: expected an int >= 1, got 1.5'),
    'channels': ({'in_channels': 1}, r'x must have in_channels = 1 channels, got shape \(1, 32, 32, 3\)'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_are_named(mistake):
    overrides, message = MISTAKES[mistake]
    model = create_model('condconv_mobilenetv1_100_8x', **({'width': 0.25} | overrides))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), X)


def test_what_is_fine():
    model = create_model('condconv_mobilenetv1_100_8x', np.int64(7), conv=nn.Conv, router=None, width=0.25)
    assert jax.eval_shape(model.init_with_output, jax.random.key(0), X)[0].shape == (1, 7)
    own = create_model('condconv_resnet18_8x', 5, conv=functools.partial(CondConv, num_kernels=2), router=None)
    params = jax.eval_shape(own.init, jax.random.key(0), X)['params']
    assert params['layer4_1']['conv1']['routing']['kernel'].shape == (512, 2)
