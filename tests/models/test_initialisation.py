"""What the networks draw: the deviations of static and dynamic kernels, each expert's own values."""

import functools

import jax
import numpy as np
import pytest

from flax_dynconv.models import Stage, create_model

# Expands 64 channels to 384, so that a depthwise kernel has thousands of values.
FIELDS = {'stages': (Stage(96, kernel_size=5),), 'stem_features': 64, 'head_features': 256, 'num_classes': 3}
# Relative errors of the deviation of 9600 values have a deviation of 0.7 %.
CLOSE = functools.partial(pytest.approx, rel=0.04)


@functools.cache
def kernels(name, **overrides):
    """Kernels of the only block, by layer: (kh, kw, in, out), with the experts in front if it is dynamic."""
    init = jax.jit(
        create_model(name, **FIELDS, **overrides).init, compiler_options={'xla_backend_optimization_level': 0}
    )
    params = init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))['params']['blocks_0_0']
    return {layer: np.asarray(params[layer]['kernel'], np.float64) for layer in ('expand', 'depthwise', 'project')}


def test_depthwise_kernels_as_torchs():
    """Kaiming's fan_out counts all channels: 2 / (C k k)."""
    depthwise = kernels('mobilenetv2_100')['depthwise']
    assert depthwise.shape == (5, 5, 1, 384)
    assert depthwise.std() == CLOSE((2 / (384 * 25)) ** 0.5)


def test_depthwise_kernels_as_tensorflows():
    """One output per channel there: 2 / (k k)."""
    depthwise = kernels('efficientnet_b0')['depthwise']
    assert depthwise.shape == (5, 5, 1, 384)
    assert depthwise.std() == CLOSE((2 / 25) ** 0.5)


@pytest.mark.parametrize('name', ['mobilenetv2_100', 'efficientnet_b0'])
def test_pointwise_kernels(name):
    drawn = kernels(name)
    assert drawn['expand'].shape == (1, 1, 64, 384) and drawn['project'].shape == (1, 1, 384, 96)
    assert drawn['expand'].std() == CLOSE((2 / 384) ** 0.5)
    assert drawn['project'].std() == CLOSE((2 / 96) ** 0.5)


def test_every_expert_is_drawn_as_a_static_kernel_on_its_own():
    drawn = kernels('condconv_efficientnet_b0_4e', num_kernels=3, dynamic_blocks=1)
    for layer, variance in {'expand': 2 / 384, 'depthwise': 2 / 25, 'project': 2 / 96}.items():
        bank = drawn[layer]
        assert bank.shape == (3, *kernels('efficientnet_b0')[layer].shape)
        for expert in bank:
            assert expert.std() == CLOSE(variance**0.5)
        between = np.corrcoef(np.reshape(bank, (3, -1)))[np.triu_indices(3, 1)]
        assert np.abs(between).max() < 0.05
