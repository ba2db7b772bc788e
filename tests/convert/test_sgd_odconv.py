"""A step of SGD on ODConv's ResNet-18 against PyTorch: loss, every parameter, every running statistic."""

import numpy as np
import pytest

from flax_dynconv.convert import from_torch, to_torch
from tests.sgd import compare_states, flax_sgd_step, numpy_state, torch_sgd_step
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS
from tests.x64 import x64

REFERENCE, ARGUMENTS = 'odconv.od_resnet18', {'num_classes': 5, 'dropout': 0.0, 'kernel_num': 2}


def test_a_step():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 4, 1])
    mirror = lively(MIRRORS[REFERENCE](**ARGUMENTS), seed=1)
    before = numpy_state(mirror)
    expected_loss, expected = torch_sgd_step(mirror, inputs, labels)

    with x64():
        module, variables = from_torch(REFERENCE, before, ARGUMENTS)
    images = np.moveaxis(inputs.numpy(), 1, -1)
    loss, after = flax_sgd_step(module, variables, images, labels.numpy(), {'train': True})
    found = to_torch(REFERENCE, after, ARGUMENTS)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    compare_states(found, expected, before)

    twice = {**found, 'fc.weight': found['fc.weight'] - 1e-5 * before['fc.weight']}
    with pytest.raises(AssertionError, match=r'1 of 346 tensors differ:\nfc\.weight: differs by'):
        compare_states(twice, expected, before)
