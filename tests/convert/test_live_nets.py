"""ODConv's ResNets against live PyTorch mirrors: keys and shapes of every depth, and training-mode numbers."""

import numpy as np
import pytest

from flax_dynconv.convert import from_torch, get_reference, save_reference_case, to_torch, verify
from flax_dynconv.convert.engine import expected_leaves
from flax_dynconv.convert.rules import RuleTable
from tests.torch_mirrors import torch
from tests.torch_mirrors.registry import MIRRORS

KEYS = {('odconv.od_resnet18', 1): 314, ('odconv.od_resnet18', 2): 346}
KEYS |= {('odconv.od_resnet50', 1): 832, ('odconv.od_resnet50', 2): 928}
ACTIVATIONS = ['bn1', 'layer1.0.conv1', 'layer1.0', 'layer2.0.downsample.0', 'layer2.0.downsample', 'layer4', 'fc']


@pytest.mark.parametrize(('reference', 'kernels'), [*KEYS, ('odconv.od_resnet34', 1), ('odconv.od_resnet101', 2)])
def test_keys_and_shapes(reference, kernels):
    with torch.device('meta'):
        state = MIRRORS[reference](kernel_num=kernels).state_dict()
    assert len(state) == KEYS.get((reference, kernels), len(state))
    record = get_reference(reference)
    arguments = record.signature.bind(reference, {'kernel_num': kernels})
    expected = expected_leaves(record.build(arguments, None, None), record.example(arguments), {})
    table = RuleTable(record.rules(arguments))
    shapes = {}
    for path, leaf in expected.items():
        if not path.startswith('temperature/'):
            key, transform = table.to_torch(path)
            shapes[key] = transform.to_torch(np.zeros(leaf.shape, np.int8)).shape
    assert shapes == {key: tuple(tensor.shape) for key, tensor in state.items()}


def lively(reference, **arguments):
    """A float64 network in whose outputs every parameter has a say: no batch norm scale is 0, attentions differ."""
    torch.manual_seed(0)
    module = MIRRORS[reference](**arguments).double()
    for name, tensor in module.state_dict().items():
        if name.endswith('_fc.weight'):
            tensor.mul_(3)
        elif 'bn' in name and tensor.ndim == 1:
            tensor.add_(0.1 * torch.randn_like(tensor).abs())
    return module


def training_case(path):
    arguments = {'num_classes': 5, 'dropout': 0.0, 'kernel_num': 2}
    module = lively('odconv.od_resnet18', **arguments)
    settings = {'reference': 'odconv.od_resnet18', 'arguments': arguments, 'inputs': torch.randn(4, 3, 32, 32).double()}
    return save_reference_case(path, module, train=True, activations=ACTIVATIONS, **settings), module


def test_training_and_activations(tmp_path):
    _, module = training_case(tmp_path / 'case.safetensors')
    report = verify(tmp_path / 'case.safetensors', dtype='float64', tolerance=1e-8)
    assert report.ok, str(report)
    assert report.first_difference is None
    assert len(report.activations) == len(ACTIVATIONS) and not report.skipped
    assert {c.name.removeprefix('state_after/') for c in report.state_after} == dict(module.named_buffers()).keys()


@pytest.mark.slow
def test_the_module_to_blame(tmp_path):
    case, _ = training_case(tmp_path / 'case.safetensors')
    case.state_dict['layer2.0.downsample.0.weight'][0] += 0.1
    assert verify(case, dtype='float64').first_difference == 'layer2.0.downsample.0'


def test_round_trip_of_a_deep_network():
    state = {k: v.numpy() for k, v in MIRRORS['odconv.od_resnet50'](num_classes=3).state_dict().items()}
    _, variables = from_torch('odconv.od_resnet50', state, {'num_classes': 3})
    back = to_torch('odconv.od_resnet50', variables, {'num_classes': 3})
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[key], array) for key, array in state.items())


@pytest.mark.slow
@pytest.mark.parametrize('reference', ['odconv.od_resnet34', 'odconv.od_resnet50', 'odconv.od_resnet101'])
def test_evaluation_of_the_deeper_networks(tmp_path, reference):
    module = lively(reference, num_classes=5)
    settings = {'reference': reference, 'arguments': {'num_classes': 5}, 'inputs': torch.randn(2, 3, 64, 64).double()}
    save_reference_case(tmp_path / 'case.safetensors', module, **settings)
    report = verify(tmp_path / 'case.safetensors', dtype='float64', tolerance=1e-8)
    assert report.ok, str(report)
