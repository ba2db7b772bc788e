"""timm's block with every activation, and the norms that end with one."""

import pytest

from flax_dynconv.convert import save_reference_case, verify
from tests.torch_mirrors import torch
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS

REFERENCE = 'timm.CondConvResidual'
BLOCK = {'in_chs': 8, 'out_chs': 8, 'exp_ratio': 2.0, 'num_experts': 2, 'bn_eps': 1e-3}


@pytest.mark.parametrize('act', ['ReLU', 'ReLU6', 'SiLU', 'Hardswish', 'GELU'])
def test_activations_of_the_block(tmp_path, act):
    x = torch.randn((3, 8, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = {**BLOCK, 'act': act, 'se': 0.25}
    module = lively(MIRRORS[REFERENCE](**own), inputs=x)
    settings = {'reference': REFERENCE, 'arguments': own, 'inputs': x}
    save_reference_case(tmp_path / 'case.npz', module, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-12)
    assert report.ok, str(report)


def test_norms_end_with_the_activation(tmp_path):
    """timm's BatchNormAct2d returns what comes after its activation; a ReLU may be applied twice."""

    class BatchNormAct2d(torch.nn.BatchNorm2d):
        def forward(self, x):
            return torch.nn.functional.relu(super().forward(x))

    x = torch.randn((3, 8, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = lively(MIRRORS[REFERENCE](**BLOCK), inputs=x)
    for name in ('bn1', 'bn2'):
        norm = BatchNormAct2d(16, eps=1e-3).double()
        norm.load_state_dict(getattr(module, name).state_dict())
        setattr(module, name, norm)
    settings = {'reference': REFERENCE, 'arguments': BLOCK, 'inputs': x, 'activations': ['bn1', 'bn2', 'bn3']}
    save_reference_case(tmp_path / 'case.npz', module, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-12)
    assert report.ok and report.first_difference is None and len(report.activations) == 3, str(report)
