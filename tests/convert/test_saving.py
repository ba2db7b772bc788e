"""save_reference_case: what it writes, that it changes nothing, and what it refuses."""

import numpy as np
import pytest

from flax_dynconv.convert import CaseError, ConversionError, load_case, save_reference_case, verify
from tests.torch_mirrors import torch
from tests.torch_mirrors.registry import MIRRORS

OD, DY2 = 'odconv.ODConv2d', 'dynconv.Dynamic_conv2d'
ARGUMENTS = {'in_planes': 4, 'out_planes': 6, 'kernel_size': 3}
SETTINGS = {'reference': OD, 'arguments': ARGUMENTS}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return MIRRORS[OD](**ARGUMENTS)


def x():
    return torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1))


def test_it_changes_nothing(tmp_path, module):
    module.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    image = x()
    copy = image.clone()
    path = tmp_path / 'case.npz'
    save_reference_case(
        path, module, inputs=image, train=True, temperature=30, activations=['attention.fc'], **SETTINGS
    )
    assert not module.training and module.attention.temperature == 1.0
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(image, copy)
    assert not module.attention.fc._forward_hooks
    case = load_case(path)
    assert case.train and case.temperature == 30.0
    assert case.state_dict.keys() == before.keys()
    assert case.state_after.keys() == dict(module.named_buffers()).keys()
    assert case.activations['attention.fc'].shape == (3, 16, 1, 1)


def test_the_temperature_is_found(tmp_path, module):
    module.attention.temperature = 4.0
    case = save_reference_case(tmp_path / 'case.npz', module, inputs=x(), **SETTINGS)
    assert case.temperature == 4.0
    assert verify(tmp_path / 'case.npz').ok
    other = MIRRORS[DY2](**ARGUMENTS)
    settings = {'reference': DY2, 'arguments': ARGUMENTS, 'inputs': x()}
    assert save_reference_case(tmp_path / 'a.npz', other, **settings).temperature == 34.0
    assert save_reference_case(tmp_path / 'b.npz', other, temperature=1.0, **settings).temperature == 1.0
    assert verify(tmp_path / 'b.npz').ok


def test_activations_find_the_wrong_module(tmp_path, module):
    names = [name for name, _ in module.named_modules() if name.startswith('attention.')]
    case = save_reference_case(tmp_path / 'case.npz', module, inputs=x(), activations=names, **SETTINGS)
    assert verify(case).first_difference is None
    assert {c.name for c in verify(case).activations} == {f'activation/{name}' for name in names}
    case.state_dict['attention.spatial_fc.bias'][4] += 0.5
    report = verify(case)
    assert not report.ok and report.first_difference == 'attention.spatial_fc'


def test_activations_are_copied_before_anything_works_on_them_in_place(tmp_path):
    class Inplace(MIRRORS[OD]):
        def forward(self, x):
            y = self.attention.fc(x)
            y.zero_()
            return super().forward(x)

    module = Inplace(**ARGUMENTS)
    case = save_reference_case(tmp_path / 'case.npz', module, inputs=x(), activations=['attention.fc'], **SETTINGS)
    assert np.abs(case.activations['attention.fc']).min() > 0


def test_nested_outputs_are_flattened(tmp_path):
    class Two(MIRRORS[OD]):
        def forward(self, x):
            y = super().forward(x)
            return {'a': y, 'b': [y + 1, (y + 2,)]}

    case = save_reference_case(tmp_path / 'case.npz', Two(**ARGUMENTS), inputs=[x()], **SETTINGS)
    assert len(case.outputs) == 3
    np.testing.assert_allclose(case.outputs[2], case.outputs[0] + 2, rtol=1e-6)


def test_wrong_reference_and_arguments(tmp_path, module):
    path = tmp_path / 'case.npz'
    with pytest.raises(ConversionError, match=r"did you mean 'odconv\.ODConv2d'"):
        save_reference_case(path, module, reference='odconv.ODConv', arguments={}, inputs=x())
    with pytest.raises(ConversionError, match="unknown argument 'kernels'"):
        save_reference_case(path, module, reference=OD, arguments={**ARGUMENTS, 'kernels': 2}, inputs=x())
    assert not path.exists()


def test_unknown_and_unusable_activations(tmp_path, module):
    path = tmp_path / 'case.npz'
    with pytest.raises(CaseError, match=r"no submodule 'attention\.fcs'; did you mean 'attention\.fc'"):
        save_reference_case(path, module, inputs=x(), activations=['attention.fcs'], **SETTINGS)
    with pytest.raises(CaseError, match="the output of 'attention' is no tensor but tuple"):
        save_reference_case(path, module, inputs=x(), activations=['attention'], **SETTINGS)


def test_random_dropout_is_refused_in_training(tmp_path):
    arguments = {'in_channels': 4, 'out_channels': 6, 'kernel_size': 3}
    module = MIRRORS['seed.DyNet2D'](**arguments)
    settings = {'reference': 'seed.DyNet2D', 'arguments': arguments, 'inputs': x()}
    with pytest.raises(CaseError, match=r"random dropout in \['_coefficient_fn.dropout'\]: .*such as dropout_rate=0"):
        save_reference_case(tmp_path / 'case.npz', module, train=True, **settings)
    save_reference_case(tmp_path / 'case.npz', module, **settings)


def test_temperatures_that_disagree_or_do_not_exist(tmp_path, module):
    both = torch.nn.ModuleList([module, MIRRORS[DY2](**ARGUMENTS)])
    with pytest.raises(CaseError, match=r'different ones, \[1\.0, 34\.0\]; give one'):
        save_reference_case(tmp_path / 'case.npz', both, inputs=x(), **SETTINGS)
    plain = MIRRORS['timm.CondConv2d'](4, 6)
    settings = {'reference': 'timm.CondConv2d', 'arguments': {'in_channels': 4, 'out_channels': 6}}
    with pytest.raises(CaseError, match='no submodule has an attribute of that name'):
        save_reference_case(tmp_path / 'case.npz', plain, inputs=x(), temperature=2, **settings)
