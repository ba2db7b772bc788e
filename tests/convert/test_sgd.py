"""A step of SGD on one network of each family against PyTorch: loss, every parameter, every running statistic."""

import numpy as np
import pytest
from flax import traverse_util

from flax_dynconv.convert import get_reference
from flax_dynconv.convert.arguments import Signature
from flax_dynconv.convert.conversion import convert_checkpoint
from flax_dynconv.convert.engine import expected_leaves, leaves_to_state
from flax_dynconv.convert.references._networks import classifier
from flax_dynconv.convert.rules import RuleTable
from tests.convert import unpublished
from tests.sgd import compare_states, flax_sgd_step, numpy_state, torch_sgd_step
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS
from tests.x64 import x64

PUBLISHED = {
    'odconv.od_mobilenetv2_050': {'num_classes': 5, 'dropout': 0.0, 'kernel_num': 2},
    'dynconv.dy_resnet18': {'num_classes': 5},
    'torchvision.resnet50': {'num_classes': 5},
    'torchvision.mobilenet_v2': {'num_classes': 5, 'dropout': 0.0},
    'torchvision.mobilenet_v3_small': {'num_classes': 5, 'dropout': 0.0},
    'timm.tf_efficientnet_cc_b0_4e': {'num_classes': 5},
}
# ODConv's step is in test_sgd_odconv.py, CondConv's here on a MobileNet; deeper networks take minutes to compile.
SLOW = (
    'odconv.od_mobilenetv2_050',
    'torchvision.resnet50',
    'torchvision.mobilenet_v2',
    'torchvision.mobilenet_v3_small',
    'dynconv.dy_resnet18',
    'timm.tf_efficientnet_cc_b0_4e',
    'condconv_mnasnet_a1',
)
# Attentions with norms of their own amplify rounding; so do norms over few values.
BATCH, SIZE, SIZES = 8, 64, {'odconv.od_mobilenetv2_050': 32}
STEEPNESS = {'odconv.od_mobilenetv2_050': 1 / 3}


def step(mirror, reference, record, arguments, steepness=1.0):
    generator = torch.Generator().manual_seed(0)
    size = SIZES.get(reference, SIZE)
    inputs = torch.randn(BATCH, 3, size, size, generator=generator, dtype=torch.float64)
    labels = torch.arange(BATCH) % 5
    mirror = lively(mirror, seed=1, steepness=steepness)
    before = numpy_state(mirror)
    temperature = next((m.temperature for m in mirror.modules() if hasattr(m, 'temperature')), 1.0)
    expected_loss, expected = torch_sgd_step(mirror, inputs, labels)
    with x64():
        converted = convert_checkpoint(reference, record, before, arguments, temperature=temperature)
    variables = traverse_util.unflatten_dict(converted.leaves, sep='/')
    images = np.moveaxis(inputs.numpy(), 1, -1)
    loss, after = flax_sgd_step(converted.module, variables, images, labels.numpy(), record.call(True))
    bound = record.signature.bind(reference, arguments)
    leaves = expected_leaves(converted.module, record.example(bound), record.call(False))
    found = leaves_to_state(after, RuleTable(record.rules(bound)), leaves)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    compare_states(found, expected, before)


@pytest.mark.parametrize(
    'reference', [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in PUBLISHED]
)
def test_published(reference, monkeypatch):
    # PyTorch's own gradient of hardsigmoid is 0.16666667163, a sixth in float32, for float64 too.
    monkeypatch.setattr(torch.nn.functional, 'hardsigmoid', lambda x: torch.nn.functional.relu6(x + 3) / 6)
    own = PUBLISHED[reference]
    record = get_reference(reference)
    step(MIRRORS[reference](**own), reference, record, own, STEEPNESS.get(reference, 1.0))


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in unpublished.NETWORKS]
)
def test_unpublished(name):
    mirror, model, rules = unpublished.NETWORKS[name]()
    record = classifier(Signature({}), lambda args, dtype, param_dtype: model.clone(dtype=dtype), lambda args: rules)
    step(mirror, name, record, {})
