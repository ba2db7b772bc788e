"""Layers against live PyTorch mirrors: every constructor argument, outputs, gradients, buffers, round trips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import from_torch, get_reference, save_reference_case, to_torch, verify
from flax_dynconv.convert.layouts import to_flax
from flax_dynconv.convert.layouts import to_torch as to_channels_first
from tests.torch_mirrors import torch
from tests.torch_mirrors.registry import MIRRORS

OD, CC, YOLO = 'odconv.ODConv2d', 'timm.CondConv2d', 'seed.YOLOODConv2d'
DY, OD2 = 'seed.DyNet2D', 'seed.ODConv2D'
D1, D2, D3 = (f'dynconv.Dynamic_conv{n}d' for n in (1, 2, 3))
PLANES = {'in_planes': 4, 'out_planes': 6, 'kernel_size': 3}
CHANNELS = {'in_channels': 4, 'out_channels': 6, 'kernel_size': 3}
BLOCK = {'in_planes': 4, 'out_planes': 6, 'k': 3}

CONFIGURATIONS = [
    (OD, {**PLANES, 'kernel_size': 4, 'padding': 'same', 'dilation': 2}),
    (OD, {**PLANES, 'stride': (2, 1), 'padding': (1, 2), 'groups': 2, 'reduction': 5.0, 'kernel_num': 3}),
    (OD, {**PLANES, 'out_planes': 8, 'groups': 4, 'kernel_num': 1, 'padding': 1}),
    (OD, {**PLANES, 'out_planes': 4, 'groups': 4, 'kernel_num': 2, 'padding': 'valid'}),
    (OD, {**PLANES, 'kernel_size': 1, 'groups': 2, 'stride': 2, 'kernel_num': 1}),
    (OD, {**PLANES, 'kernel_size': 1, 'padding': 1, 'kernel_num': 2}),
    (OD, {**PLANES, 'kernel_size': 2, 'stride': 3, 'dilation': (1, 2)}),
    (CC, {**CHANNELS, 'kernel_size': (3, 5), 'stride': (2, 1), 'dilation': (1, 2), 'padding': 'same', 'bias': True}),
    (CC, {**CHANNELS, 'kernel_size': 4, 'padding': 'same', 'groups': 2}),
    (CC, {**CHANNELS, 'kernel_size': 4, 'stride': 2, 'dilation': 2}),
    (CC, {**CHANNELS, 'stride': 3, 'padding': 'same', 'num_experts': 1}),
    (CC, {**CHANNELS, 'padding': (2, 0), 'num_experts': 2, 'bias': True}),
    (CC, {**CHANNELS, 'out_channels': 8, 'groups': 4, 'padding': 'valid', 'stride': 2}),
    (CC, {'in_channels': 4, 'out_channels': 6}),
    (D1, {**PLANES, 'kernel_size': 4, 'stride': 2, 'dilation': 2, 'groups': 2, 'K': 2, 'ratio': 0.5, 'padding': 3}),
    (D1, {**PLANES, 'in_planes': 3, 'temperature': 1, 'padding': 'same', 'bias': False}),
    (D2, {**PLANES, 'stride': (1, 2), 'padding': (0, 2), 'temperature': 7, 'K': 1, 'init_weight': False}),
    (D2, {**PLANES, 'in_planes': 3, 'out_planes': 3, 'groups': 3, 'K': 3, 'temperature': 4, 'kernel_size': 2}),
    (D3, {**PLANES, 'stride': (1, 2, 1), 'dilation': (1, 1, 2), 'padding': (1, 1, 2), 'groups': 2, 'temperature': 1}),
    (D3, {**PLANES, 'in_planes': 3, 'kernel_size': 2, 'bias': False, 'K': 2, 'ratio': 2.0}),
    (DY, {**CHANNELS, 'kernel_size': (3, 2), 'padding': (2, 1), 'padding_mode': 'reflect', 'groups': 2}),
    (DY, {**CHANNELS, 'kernel_size': (2, 3), 'padding': 'same', 'padding_mode': 'circular', 'dilation': (2, 1)}),
    (DY, {**CHANNELS, 'stride': (2, 1), 'padding': 2, 'padding_mode': 'replicate', 'num_experts': 1, 'bias': False}),
    (DY, {**CHANNELS, 'dilation': 2, 'padding': 'valid', 'num_experts': 5, 'dropout_rate': 0.5}),
    (OD2, {**CHANNELS, 'padding': 1, 'padding_mode': 'circular', 'stride': 2}),
    (OD2, {**CHANNELS, 'kernel_size': (2, 2), 'padding': 'same', 'padding_mode': 'reflect', 'K': 1, 'r': 2}),
    (OD2, {**CHANNELS, 'dilation': (1, 2), 'padding': (2, 1), 'padding_mode': 'replicate', 'bias': False, 'r': 1}),
    (OD2, {**CHANNELS, 'kernel_size': 1, 'dropout_rate': 0.9, 'padding': 1}),
    (YOLO, {**BLOCK, 'act': False, 's': 2, 'd': 2}),
    (YOLO, {**BLOCK, 'p': 0, 'g': 2, 'kernel_num': 3, 'reduction': 6.0}),
    (YOLO, {**BLOCK, 'out_planes': 4, 'g': 4, 'k': 2, 'act': None}),
    (YOLO, {**BLOCK, 'k': 1, 's': (1, 2), 'p': (1, 0)}),
]
# Those with batch statistics, and one of each other kind.
TRAINING = [
    (OD, {**PLANES, 'kernel_num': 2, 'padding': 1}),
    (OD, {**PLANES, 'out_planes': 4, 'groups': 4, 'kernel_size': 1, 'kernel_num': 1}),
    (YOLO, {**BLOCK, 'kernel_num': 2}),
    (CC, {**CHANNELS, 'bias': True}),
    (D2, {**PLANES, 'temperature': 4}),
    (DY, {**CHANNELS, 'dropout_rate': 0.0}),
    (OD2, {**CHANNELS, 'dropout_rate': 0.5}),
]


def mirror(reference, arguments, seed=0):
    """A float64 mirror with every parameter and buffer away from its initial value, and its inputs."""
    generator = torch.Generator().manual_seed(seed)
    module = MIRRORS[reference](**arguments).double()
    for name, tensor in module.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if name.endswith('running_var'):
            tensor.copy_(1 + 0.3 * noise.tanh())
        elif tensor.is_floating_point():
            tensor.copy_(noise * (0.3 if tensor.ndim > 1 else 0.5) + (1.0 if 'bn.weight' in name else 0.0))
        else:
            tensor.fill_(5)
    ndim = {D1: 1, D3: 3}.get(reference, 2)
    channels = arguments.get('in_planes', arguments.get('in_channels'))
    inputs = [torch.randn((3, channels, 7, 8, 6)[: ndim + 2], generator=generator, dtype=torch.float64)]
    if reference == CC:
        inputs.append(torch.rand((3, arguments.get('num_experts', 4)), generator=generator, dtype=torch.float64))
    return module, inputs


def label(configuration):
    reference, arguments = configuration
    own = {k: v for k, v in arguments.items() if k not in ('in_planes', 'out_planes', 'in_channels', 'out_channels')}
    return f'{reference}-' + '-'.join(f'{k}={v}' for k, v in own.items())


@pytest.mark.parametrize('configuration', CONFIGURATIONS, ids=label)
def test_evaluation(tmp_path, configuration):
    reference, arguments = configuration
    module, inputs = mirror(reference, arguments)
    settings = {'reference': reference, 'arguments': arguments, 'inputs': inputs}
    save_reference_case(tmp_path / 'case.npz', module, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-10)
    assert report.ok, str(report)
    assert report.temperature == getattr(getattr(module, 'attention', None), 'temperature', 1.0)
    state = module.state_dict()
    _, variables = from_torch(reference, state, arguments)
    back = to_torch(reference, variables, arguments)
    assert back.keys() == state.keys()
    assert all(back[k].dtype == v.numpy().dtype and back[k].tobytes() == v.numpy().tobytes() for k, v in state.items())


@pytest.mark.parametrize('configuration', TRAINING, ids=label)
def test_training(tmp_path, configuration):
    """One training-mode call: outputs, buffers, and gradients of all parameters and inputs."""
    reference, arguments = configuration
    module, inputs = mirror(reference, arguments, seed=1)
    settings = {'reference': reference, 'arguments': arguments, 'inputs': inputs, 'train': True}
    case = save_reference_case(tmp_path / 'case.safetensors', module, **settings)
    report = verify(tmp_path / 'case.safetensors', dtype='float64', tolerance=1e-10)
    assert report.ok, str(report)
    buffers = dict(module.named_buffers())
    assert {c.name.removeprefix('state_after/') for c in report.state_after} == buffers.keys()
    assert all(case.state_after[k] == 6 for k in buffers if k.endswith('num_batches_tracked'))
    assert all((v == 5).all() for k, v in buffers.items() if k.endswith('num_batches_tracked'))

    expected = torch_gradients(module, inputs)
    with jax.enable_x64(True):
        found = flax_gradients(reference, arguments, case)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-9, atol=1e-10, err_msg=key)


def torch_gradients(module, inputs):
    """Gradients of sum(y^2) by name, inputs as input/0.. ."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    module.train()(*inputs).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    return {k: v.numpy() for k, v in (gradients | {f'input/{i}': x.grad for i, x in enumerate(inputs)}).items()}


def flax_gradients(reference, arguments, case):
    module, variables = from_torch(reference, case.state_dict, arguments, temperature=case.temperature)
    record = get_reference(reference)
    inputs = [jnp.asarray(to_flax(x, layout)) for x, layout in zip(case.inputs, record.inputs, strict=True)]
    rest = {k: v for k, v in variables.items() if k not in ('params', 'torch_buffers')}

    @jax.jit
    def grad(params, inputs):
        def loss(params, inputs):
            y, _ = module.apply({**rest, 'params': params}, *inputs, mutable=['batch_stats'])
            return jnp.square(y).sum()

        return jax.grad(loss, argnums=(0, 1))(params, inputs)

    of_params, of_inputs = jax.device_get(grad(variables['params'], inputs))
    found = to_torch(reference, {**variables, 'params': of_params}, arguments)
    found = {k: v for k, v in found.items() if 'running_' not in k and 'num_batches' not in k}
    channels_first = [to_channels_first(x, layout) for x, layout in zip(of_inputs, record.inputs, strict=True)]
    return found | {f'input/{i}': x for i, x in enumerate(channels_first)}


def test_an_activation_given_as_a_module():
    arguments = {**BLOCK, 'act': torch.nn.LeakyReLU()}
    module, (x,) = mirror(YOLO, arguments)
    expected = module.eval()(x).detach().numpy()
    for act in ('LeakyReLU', lambda y: jnp.maximum(y, 0.01 * y)):
        with jax.enable_x64(True):
            layer, variables = from_torch(YOLO, module.state_dict(), {**arguments, 'act': act})
            y = layer.apply(variables, to_flax(x.numpy(), 'channels_first'))
        np.testing.assert_allclose(to_channels_first(np.asarray(y), 'channels_first'), expected, rtol=1e-9, atol=1e-10)


def test_bfloat16_tensors():
    module = MIRRORS[OD](**PLANES).bfloat16()
    _, variables = from_torch(OD, module.state_dict(), PLANES)
    assert variables['params']['kernel'].dtype == jnp.bfloat16
    weight = to_torch(OD, variables, PLANES)['weight'].astype(np.float32)
    np.testing.assert_array_equal(weight, module.weight.detach().float().numpy())


def test_a_parameter_that_requires_grad_and_one_that_does_not():
    module, _ = mirror(D1, PLANES)
    state = dict(module.named_parameters())
    state['weight'].requires_grad_(False)
    _, variables = from_torch(D1, state, PLANES)
    np.testing.assert_array_equal(variables['params']['bias'], state['bias'].detach().numpy())
