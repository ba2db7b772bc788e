"""Training mode on the inputs that networks have: after a ReLU, and images in [0, 1], whose mean is not zero."""

import pytest

from flax_dynconv.convert import save_reference_case, verify
from tests.torch_mirrors import torch
from tests.torch_mirrors.registry import MIRRORS

ARGUMENTS = {'in_planes': 16, 'out_planes': 8, 'kernel_size': 1}
INPUTS = {
    'centred': lambda x: x,
    'after a ReLU': torch.relu,
    'images': torch.sigmoid,
    'far from zero': lambda x: 5 + x,
}


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('kind', INPUTS)
def test_training_mode_holds_whatever_the_mean(tmp_path, kind, dtype):
    generator = torch.Generator().manual_seed(0)
    x = INPUTS[kind](torch.randn(4, 16, 28, 28, generator=generator, dtype=torch.float64))
    torch.manual_seed(0)
    module = MIRRORS['odconv.ODConv2d'](**ARGUMENTS).double()
    path = tmp_path / 'case.npz'
    save_reference_case(path, module, reference='odconv.ODConv2d', arguments=ARGUMENTS, inputs=x, train=True)
    report = verify(path, dtype=dtype, tolerance=1e-5 if dtype == 'float32' else 1e-9)
    assert report.ok and report.state_after, report
