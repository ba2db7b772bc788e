"""Outputs, buffers and gradients of the reference implementations, in float32 at their bounds and float64 at 1e-9."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import from_torch, get_reference, to_torch, verify
from flax_dynconv.convert.layouts import to_flax
from flax_dynconv.convert.layouts import to_torch as to_channels_first
from tests.golden.loader import Golden, names
from tests.models.tiny import quick

WHOLE = ('od_resnet', 'tf_efficientnet')
LAYERS = [(name, mode) for name, mode in names() if not name.startswith(WHOLE)]
NETS = [(name, mode) for name, mode in names() if name.startswith(WHOLE)]


def check_outputs(name, mode, dtype):
    golden = Golden(name)
    report = verify(golden.case(mode), tolerance=1e-9, dtype=dtype)
    if mode == 'train' and 'running_mean' in str(golden.meta['state']):
        assert report.state_after
    if dtype == 'float64':
        assert report.ok, str(report)
        return
    bounds = {f'output/{i}': golden.bound(mode, name) for i, name in enumerate(golden.outputs)}
    bounds |= {f'state_after/{key}': golden.bound(mode, f'state.{key}') for key in golden.case(mode).state_after}
    for comparison in (*report.outputs, *report.state_after):
        assert comparison.difference <= bounds[comparison.name], str(report)


def gradients(golden, mode, dtype):
    """Name -> gradient in PyTorch's layout."""
    case = golden.case(mode)
    reference = get_reference(case.reference)
    arguments = {'temperature': case.temperature or 1.0, 'dtype': jnp.dtype(dtype), 'param_dtype': jnp.dtype(dtype)}
    module, variables = from_torch(case.reference, case.state_dict, case.arguments, **arguments)
    inputs = [to_flax(x, layout).astype(dtype) for x, layout in zip(case.inputs, reference.inputs, strict=True)]
    layouts = reference.outputs[: len(golden.outputs)]
    pairs = zip(golden.cotangents, layouts, strict=True)
    cotangents = [to_flax(cotangent, layout).astype(dtype) for cotangent, layout in pairs]
    rest = {k: v for k, v in variables.items() if k not in ('params', 'torch_buffers')}
    mutable = ['batch_stats'] if case.train else []

    @quick
    def grad(params, inputs):
        def loss(params, inputs):
            call = reference.call(case.train)
            outputs, _ = module.apply({**rest, 'params': params}, *inputs, **call, mutable=mutable)
            return sum((y * c).sum() for y, c in zip(jax.tree.leaves(outputs), cotangents, strict=False))

        return jax.grad(loss, argnums=(0, 1))(params, inputs)

    of_params, of_inputs = jax.device_get(grad(variables['params'], inputs))
    found = to_torch(case.reference, {**variables, 'params': of_params}, case.arguments)
    for name, array, layout in zip(golden.inputs, of_inputs, reference.inputs, strict=True):
        found[name] = to_channels_first(array, layout)
    return found


def check_gradients(name, mode, dtype):
    golden = Golden(name)
    with jax.enable_x64(dtype == 'float64'), jax.default_matmul_precision('highest'):
        found = gradients(golden, mode, dtype)
    expected = golden.gradients(mode)
    assert expected
    for key, array in expected.items():
        bound = 1e-9 * max(1.0, np.abs(array).max()) if dtype == 'float64' else golden.bound(mode, f'grad.{key}')
        assert found[key].shape == array.shape
        difference = np.abs(found[key] - array).max()
        assert difference <= bound, f'{key}: {difference:.3g} exceeds {bound:.3g}'


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize(('name', 'mode'), LAYERS)
def test_layer_outputs(name, mode, dtype):
    check_outputs(name, mode, dtype)


@pytest.mark.parametrize('dtype', [pytest.param('float32', marks=pytest.mark.slow), 'float64'])
@pytest.mark.parametrize(('name', 'mode'), LAYERS)
def test_layer_gradients(name, mode, dtype):
    check_gradients(name, mode, dtype)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize(('name', 'mode'), NETS)
def test_network_outputs(name, mode, dtype):
    check_outputs(name, mode, dtype)


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'mode'), NETS)
def test_network_gradients(name, mode):
    check_gradients(name, mode, 'float64')
