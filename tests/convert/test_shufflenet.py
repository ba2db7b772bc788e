"""torchvision's ShuffleNetV2 against a PyTorch mirror: keys, round trips, both modes, one step of SGD."""

import numpy as np
import pytest

from flax_dynconv.convert import from_torch, get_reference, save_reference_case, to_torch, verify
from flax_dynconv.convert.engine import expected_leaves
from flax_dynconv.convert.rules import RuleTable
from tests.sgd import compare_states, flax_sgd_step, numpy_state, torch_sgd_step
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS
from tests.x64 import x64

REFERENCE, ARGUMENTS = 'torchvision.shufflenet_v2_x1_0', {'num_classes': 5}
SIZES = ['torchvision.shufflenet_v2_x' + size for size in ('0_5', '1_0', '1_5', '2_0')]
ACTIVATIONS = ['conv1.0', 'conv1.1', 'stage2.0.branch1.3', 'stage2.0.branch2.3', 'stage2.0', 'stage2.1', 'stage3']
ACTIVATIONS += ['stage4', 'conv5.1', 'fc']


def images(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 64, 64, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('reference', [name for name in SIZES if name in MIRRORS])
def test_keys_and_shapes(reference):
    with torch.device('meta'):
        state = MIRRORS[reference]().state_dict()
    record = get_reference(reference)
    arguments = record.signature.bind(reference, {})
    table, shapes = RuleTable(record.rules(arguments)), {}
    for path, leaf in expected_leaves(record.build(arguments, None, None), record.example(arguments), {}).items():
        key, transform = table.to_torch(path)
        shapes[key] = transform.to_torch(np.zeros(leaf.shape, np.int8)).shape
    expected = {key: tuple(tensor.shape) for key, tensor in state.items()}
    counters = {key for key in expected if key.endswith('num_batches_tracked')}
    assert len(counters) == 56
    assert shapes | dict.fromkeys(counters, ()) == expected


def test_the_round_trip_is_exact():
    state = numpy_state(lively(MIRRORS[REFERENCE](**ARGUMENTS), seed=2).float())
    _, variables = from_torch(REFERENCE, state, ARGUMENTS)
    back = to_torch(REFERENCE, variables, ARGUMENTS)
    assert back.keys() == state.keys() and len(state) == 338
    assert all(np.array_equal(back[key], array) and back[key].dtype == array.dtype for key, array in state.items())


@pytest.mark.parametrize('train', [False, True])
def test_both_modes_in_double_precision(tmp_path, train):
    inputs = images(3)
    module = lively(MIRRORS[REFERENCE](**ARGUMENTS), seed=1, inputs=images(3, seed=7))
    settings = {'reference': REFERENCE, 'arguments': ARGUMENTS, 'inputs': inputs, 'activations': ACTIVATIONS}
    save_reference_case(tmp_path / 'case.safetensors', module, train=train, **settings)
    report = verify(tmp_path / 'case.safetensors', dtype='float64', tolerance=1e-9)
    assert report.ok, str(report)
    assert len(report.activations) == len(ACTIVATIONS) and not report.skipped
    assert bool(report.state_after) == train


def test_a_step_of_sgd():
    inputs, labels = images(4, seed=1), torch.tensor([0, 3, 4, 1])
    mirror = lively(MIRRORS[REFERENCE](**ARGUMENTS), seed=1)
    before = numpy_state(mirror)
    expected_loss, expected = torch_sgd_step(mirror, inputs, labels)
    with x64():
        module, variables = from_torch(REFERENCE, before, ARGUMENTS)
    loss, after = flax_sgd_step(module, variables, np.moveaxis(inputs.numpy(), 1, -1), labels.numpy(), {'train': True})
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    compare_states(to_torch(REFERENCE, after, ARGUMENTS), expected, before)
