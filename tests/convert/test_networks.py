"""Whole networks against live PyTorch mirrors: keys, round trips, both modes, activations."""

import numpy as np
import pytest

from flax_dynconv.convert import from_torch, get_reference, save_reference_case, to_torch, verify
from flax_dynconv.convert.engine import expected_leaves
from flax_dynconv.convert.references import NETWORKS
from flax_dynconv.convert.rules import RuleTable
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS

# Others are run by `pytest -m slow`: what they add is depth and width.
SHORT = (
    'torchvision.resnet18',
    'dynconv.dy_resnet18',
    'odconv.od_mobilenetv2_050',
    'torchvision.mobilenet_v2',
    'torchvision.mobilenet_v3_small',
    'torchvision.shufflenet_v2_x1_0',
    'timm.tf_efficientnet_cc_b0_4e',
)
# The network as it is published but for these: few classes, no randomness.
ARGUMENTS = {
    'odconv.': {'num_classes': 5, 'dropout': 0.0, 'kernel_num': 2},
    'dynconv.': {'num_classes': 5},
    'timm.': {'num_classes': 5, 'in_chans': 1},
    'torchvision.mobilenet': {'num_classes': 5, 'dropout': 0.0},
    'torchvision.': {'num_classes': 5},
}
PARAMETERS = {
    'torchvision.resnet18': 11_689_512,
    'torchvision.resnet34': 21_797_672,
    'torchvision.resnet50': 25_557_032,
    'torchvision.resnet101': 44_549_160,
    'torchvision.mobilenet_v2': 3_504_872,
    'torchvision.mobilenet_v3_small': 2_542_856,
    'torchvision.mobilenet_v3_large': 5_483_032,
    'torchvision.shufflenet_v2_x1_0': 2_278_604,
    'dynconv.dy_resnet18': 45_475_008,
    'odconv.od_mobilenetv2_100': 4_940_185,
    'timm.tf_efficientnet_cc_b0_4e': 13_314_116,
    'timm.tf_efficientnet_cc_b0_8e': 24_013_284,
    'timm.tf_efficientnet_cc_b1_8e': 39_715_968,
}
IDS = [reference for reference in NETWORKS if reference in MIRRORS]


def test_every_network_has_a_mirror():
    without = set(NETWORKS) - set(MIRRORS)
    # Those of the VGGs are in test_hdfnet.py: their linear layers are large whatever the number of classes.
    known = {'torchvision.shufflenet_v2_x2_0', 'torchvision.vgg16_bn', 'torchvision.vgg19_bn'}
    assert without <= known, without


def arguments(reference):
    return next(table for prefix, table in ARGUMENTS.items() if reference.startswith(prefix))


def live(reference):
    """A module and its inputs; attentions with norms of their own need samples, and amplify rounding where steep."""
    own, normed = arguments(reference), reference.startswith('odconv.')
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((8 if normed else 3, own.get('in_chans', 3), 64, 48), generator=generator, dtype=torch.float64)
    # Over 33 blocks calibrated statistics let the sum of the branches grow to 1e17 and rounding with it.
    calibrate = None if reference == 'odconv.od_resnet101' else x
    return lively(MIRRORS[reference](**own), inputs=calibrate, steepness=1 / 6 if normed else 1.0), x


@pytest.mark.parametrize('reference', IDS)
def test_keys_shapes_and_parameters(reference):
    with torch.device('meta'):
        module = MIRRORS[reference]()
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == PARAMETERS.get(reference, count)
    record = get_reference(reference)
    bound = record.signature.bind(reference, {})
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), record.call(False))
    table, shapes = RuleTable(record.rules(bound)), {}
    for path, leaf in expected.items():
        if not path.startswith('temperature/'):
            key, transform = table.to_torch(path)
            shapes[key] = transform.to_torch(np.zeros(leaf.shape, np.int8)).shape
    assert shapes == {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


@pytest.mark.parametrize('reference', [pytest.param(r, marks=[] if r in SHORT else pytest.mark.slow) for r in IDS])
@pytest.mark.parametrize('train', [False, True], ids=['evaluation', 'training'])
def test_outputs(tmp_path, reference, train):
    module, x = live(reference)
    blocks = [name for name, _ in module.named_modules() if name.count('.') in (1, 2) and name[-1].isdigit()]
    wanted = [name for name in blocks if not name.startswith('classifier')][-6:]
    settings = {'reference': reference, 'arguments': arguments(reference), 'inputs': x, 'activations': wanted}
    save_reference_case(tmp_path / 'case.npz', module, train=train, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok, str(report)
    assert report.outputs[0].shape == (len(x), 5)
    assert report.first_difference is None and len(report.activations) >= 3, str(report)
    if train:
        assert {c.name.removeprefix('state_after/') for c in report.state_after} == dict(module.named_buffers()).keys()


@pytest.mark.parametrize('reference', IDS)
def test_round_trip(reference):
    own = arguments(reference)
    module = MIRRORS[reference](**own)
    for tensor in module.state_dict().values():
        if not tensor.is_floating_point():
            tensor.fill_(7)
    state = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    back = to_torch(reference, from_torch(reference, state, own)[1], own)
    assert back.keys() == state.keys()
    assert all(back[k].dtype == v.dtype and back[k].tobytes() == v.tobytes() for k, v in state.items())


@pytest.mark.parametrize(
    ('reference', 'own'),
    [
        ('torchvision.resnet50', {'replace_stride_with_dilation': (False, True, True)}),
        ('timm.tf_efficientnet_b0', {'output_stride': 8}),
        ('torchvision.mobilenet_v3_small', {'width_mult': 0.75, 'dropout': 0.0}),
        ('torchvision.mobilenet_v2', {'width_mult': 1.4, 'dropout': 0.0}),
    ],
    ids=str,
)
@pytest.mark.slow
def test_constructor_arguments(tmp_path, reference, own):
    own = {**own, 'num_classes': 5}
    x = torch.randn((2, 3, 64, 48), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    module = lively(MIRRORS[reference](**own), inputs=x)
    save_reference_case(tmp_path / 'case.npz', module, reference=reference, arguments=own, inputs=x)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok, str(report)
