"""HDFNet and the VGGs against live PyTorch mirrors: modules, whole networks and training steps, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import (
    ConversionError,
    from_torch,
    get_reference,
    references,
    save_reference_case,
    to_torch,
    verify,
)
from flax_dynconv.convert.engine import expected_leaves
from flax_dynconv.convert.references import hdfnet_networks, torchvision_vgg
from flax_dynconv.convert.rules import RuleTable
from flax_dynconv.models import vgg as vgg16
from tests.models.tiny import quick
from tests.sgd import numpy_state
from tests.torch_mirrors import torch, vgg
from tests.torch_mirrors.lively import lively
from tests.torch_mirrors.registry import MIRRORS

VGG16, VGG19, RES50 = (f'hdfnet.HDFNet_{name}' for name in ('VGG16', 'VGG19', 'Res50'))
PARAMETERS = {VGG16: 44_148_129, VGG19: 54_772_641, RES50: 153_192_001}
KEYS = {VGG16: 722, VGG19: 764, RES50: 1182}
# Few convolutions or bottlenecks in each stage; encoders of 4 channels, a decoder of 8.
SIZES = {VGG16: (1, 1, 2, 1, 1), RES50: (1, 1, 2, 1)}
NARROW = {'base': 4, 'channels': 8}


def narrow(monkeypatch, sizes=SIZES):
    """The references of the networks with few channels, and stages of other sizes."""
    build = hdfnet_networks.hdfnet

    def small(encoder, **fields):
        model = build(encoder, width=1 / 16, channels=NARROW['channels'], **fields)
        stages = {'vgg16_bn': sizes.get(VGG16), 'resnet50': sizes.get(RES50)}.get(encoder)
        if stages is None:
            return model
        encoders = {name: getattr(model, name).clone(stage_sizes=stages) for name in ('encoder', 'depth_encoder')}
        return model.clone(**encoders)

    monkeypatch.setattr(hdfnet_networks, 'hdfnet', small)
    if VGG16 in sizes:
        monkeypatch.setattr(hdfnet_networks, 'vgg', lambda depth: vgg16(depth).clone(stage_sizes=sizes[VGG16]))
        monkeypatch.setitem(references.REFERENCES, VGG16, hdfnet_networks.hdfnet_vgg(16))


def mirror(reference, sizes=SIZES, **calibration):
    encoder, stages = MIRRORS[reference].args
    return lively(MIRRORS[reference].func(encoder, sizes.get(reference, stages), **NARROW), **calibration)


def maps(batch, *channels, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn((batch, n, *size), generator=generator, dtype=torch.float64) for n in channels)


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def keys_and_shapes(reference):
    record = get_reference(reference)
    bound = record.signature.bind(reference, {})
    expected = expected_leaves(record.build(bound, None, None), record.example(bound), record.call(False))
    table, shapes = RuleTable(record.rules(bound)), {}
    for path, leaf in expected.items():
        key, transform = table.to_torch(path)
        shapes[key] = transform.to_torch(np.zeros(leaf.shape, np.int8)).shape
    return shapes


@pytest.mark.parametrize('reference', PARAMETERS)
def test_keys_shapes_and_parameters(reference):
    with torch.device('meta'):
        module = MIRRORS[reference]()
    shapes = keys_and_shapes(reference)
    assert shapes == {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    assert len(shapes) == KEYS[reference]
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[reference]
    assert shapes['depth_encoder2.0.weight' if reference == RES50 else 'depth_encoder1.0.weight'][:2] == (64, 1)
    assert any('.gernerate_kernel.2.weight' in key for key in shapes)


@pytest.mark.parametrize('depth', [16, 19])
def test_keys_and_shapes_of_vgg(depth):
    with torch.device('meta'):
        state = vgg.VGG(vgg.SIZES[depth]).state_dict()
    assert keys_and_shapes(f'torchvision.vgg{depth}_bn') == {key: tuple(tensor.shape) for key, tensor in state.items()}


@pytest.mark.parametrize(
    ('name', 'own', 'channels'),
    [
        ('DenseLayer', {'in_C': 5, 'out_C': 7, 'down_factor': 3, 'k': 1}, (5,)),
        ('DenseTransLayer', {'in_C': 9, 'out_C': 4}, (9, 9)),
        ('DepthDC3x3_3', {'in_xC': 3, 'in_yC': 6, 'out_C': 2, 'down_factor': 2}, (3, 6)),
        ('DDPM', {'in_xC': 5, 'in_yC': 4, 'out_C': 10, 'kernel_size': 5, 'down_factor': 1}, (5, 4)),
    ],
    ids=str,
)
def test_modules(tmp_path, name, own, channels):
    """Where numbers do not divide each other, on maps smaller than the dilated kernels; and a round trip."""
    reference, inputs = f'hdfnet.{name}', maps(3, *channels, size=(4, 6))
    module = lively(MIRRORS[reference](**own))
    settings = {'reference': reference, 'arguments': own, 'inputs': inputs}
    save_reference_case(tmp_path / 'case.npz', module, train=True, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-10)
    assert report.ok and report.state_after, str(report)
    state = numpy_state(module)
    back = to_torch(reference, from_torch(reference, state, own)[1], own)
    assert back.keys() == state.keys() and all(back[k].tobytes() == v.tobytes() for k, v in state.items())


def converted(reference, module):
    model, variables = from_torch(reference, numpy_state(module))
    return model, jax.tree.map(jnp.asarray, variables)


@pytest.mark.parametrize('sizes', [SIZES, pytest.param({}, marks=pytest.mark.slow)], ids=['short', 'whole'])
@pytest.mark.parametrize('reference', [RES50, *(pytest.param(name, marks=pytest.mark.slow) for name in (VGG16, VGG19))])
def test_networks_in_evaluation(monkeypatch, reference, sizes):
    """Maps of odd sizes too, where PyTorch can have them: those of the ResNet double at the end."""
    narrow(monkeypatch, sizes)
    size = (32, 48) if reference == RES50 else (35, 32)
    inputs = maps(2, 3, 1, size=size)
    module = mirror(reference, sizes, seed=1)
    expected = module.eval()(*inputs)
    with jax.enable_x64(True), jax.default_matmul_precision('highest'):
        model, variables = converted(reference, module)
        found = quick(functools.partial(model.apply, train=False))(variables, *map(channels_last, inputs))
    assert found.shape == (2, *size, 1)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, channels_last(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize('reference', [VGG16, pytest.param(RES50, marks=pytest.mark.slow)])
def test_a_step_of_training(monkeypatch, reference):
    """The loss, every gradient, those of the inputs too, and every statistic of a training step."""
    narrow(monkeypatch)
    inputs = maps(4, 3, 1, size=(32, 32) if reference == VGG16 else (64, 64))
    mask = (maps(4, 1, size=inputs[0].shape[2:], seed=2)[0] > 0.5).double()
    module = mirror(reference).train()
    with jax.enable_x64(True):
        model, variables = converted(reference, module)
    for x in inputs:
        x.requires_grad_()
    expected = torch.nn.functional.binary_cross_entropy(module(*inputs), mask)
    expected.backward()

    with jax.enable_x64(True), jax.default_matmul_precision('highest'):
        model = model.clone(probabilities=False)

        def loss(params, inputs, stats, mask):
            logits, new = model.apply(
                {'params': params, 'batch_stats': stats}, *inputs, train=True, mutable=['batch_stats']
            )
            return (jax.nn.softplus(logits) - mask * logits).mean(), new

        step = quick(jax.value_and_grad(loss, (0, 1), has_aux=True))
        arrays = tuple(map(channels_last, inputs)), variables['batch_stats'], channels_last(mask)
        (value, new), (gradients, of_inputs) = jax.device_get(step(variables['params'], *arrays))
    assert value == pytest.approx(expected.item(), rel=1e-10)
    found = to_torch(reference, {**jax.device_get(variables), 'params': gradients})
    largest = max(parameter.grad.abs().max().item() for parameter in module.parameters())
    for name, parameter in module.named_parameters():
        # Batch norms take away what biases before them add: their gradients are noise around zero.
        scale = max(parameter.grad.abs().max().item(), 1e-6 * largest)
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=0, atol=1e-7 * scale, err_msg=name)
    for x, gradient in zip(inputs, of_inputs, strict=True):
        assert x.grad.abs().max() > 0
        np.testing.assert_allclose(gradient, channels_last(x.grad), rtol=0, atol=1e-7 * x.grad.abs().max().item())
    found = to_torch(reference, {**jax.device_get(variables), **new})
    for name, buffer in module.named_buffers():
        if 'running' in name:
            np.testing.assert_allclose(found[name], buffer.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_activations_name_the_module_to_blame(monkeypatch, tmp_path):
    narrow(monkeypatch)
    inputs = maps(2, 3, 1, size=(32, 32))
    module = mirror(VGG16)
    wanted = ['encoder1', 'depth_encoder8', 'depth_trans8', 'upconv16', 'selfdc_16.branch_3', 'selfdc_4', 'upconv1']
    settings = {'reference': VGG16, 'arguments': {'pretrained': False}, 'inputs': inputs}
    case = save_reference_case(tmp_path / 'case.npz', module, activations=wanted, **settings)
    # The tap in the middle: on a map this small the others see zeros alone.
    case.state_dict['selfdc_16.branch_3.gernerate_kernel.2.bias'][4] += 0.5
    report = verify(case, dtype='float64', tolerance=1e-9)
    assert not report.ok and len(report.activations) == len(wanted) and not report.skipped
    assert report.first_difference == 'selfdc_16.branch_3', str(report)


def test_a_narrow_vgg(monkeypatch, tmp_path):
    """Images of which the pooled map has other sizes than the bins; the flattened order of the first linear layer."""
    build, sizes = torchvision_vgg.vgg, (1, 2)
    small = {'stage_sizes': sizes, 'features': 4, 'hidden_features': 6}
    monkeypatch.setattr(torchvision_vgg, 'vgg', lambda depth, **fields: build(depth, **fields).clone(**small))
    monkeypatch.setitem(references.REFERENCES, 'torchvision.vgg16_bn', torchvision_vgg.tv_vgg(16))
    x = maps(3, 3, size=(21, 39))[0]
    module = lively(vgg.VGG(sizes, num_classes=5, dropout=0.0, base=4, hidden=6))
    own = {'num_classes': 5, 'dropout': 0.0}
    settings = {'reference': 'torchvision.vgg16_bn', 'arguments': own, 'inputs': x}
    settings['activations'] = ['features.0', 'features.4', 'classifier']
    save_reference_case(tmp_path / 'case.npz', module, train=True, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-9)
    assert report.ok and report.first_difference is None and not report.skipped, str(report)
    state = numpy_state(module)
    back = to_torch('torchvision.vgg16_bn', from_torch('torchvision.vgg16_bn', state, own)[1], own)
    assert back.keys() == state.keys() and all(back[k].tobytes() == v.tobytes() for k, v in state.items())


@pytest.mark.parametrize(
    ('name', 'own', 'message'),
    [
        ('DenseLayer', {'in_C': 4, 'out_C': 3}, r'down_factor: expected at most features = 3, got 4'),
        ('DenseTransLayer', {'in_C': 4, 'out_C': 8}, r"'in_C': expected at least out_C = 8, got 4"),
        ('DepthDC3x3_1', {'in_xC': 4, 'in_yC': 3, 'out_C': 4}, r'y: expected guidance of at least 4 channels'),
        ('DDPM', {'in_xC': 4, 'in_yC': 4, 'out_C': 3}, r'features: expected an int >= 4, got 3'),
        ('DDPM', {'in_xC': 4, 'in_yC': 4}, r"missing argument 'out_C'"),
        ('HDFNet_VGG16', {'pretrained': 1}, r"'pretrained': expected true or false, got 1"),
        ('HDFNet_Res50', {'channels': 8}, r"unknown argument 'channels'"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(name, own, message):
    with pytest.raises(ConversionError, match=message):
        from_torch(f'hdfnet.{name}', {}, own)
