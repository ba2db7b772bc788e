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
    layouts = reference.input_layouts(reference.signature.bind(case.reference, case.arguments))
    inputs = [to_flax(x, layout) for x, layout in zip(case.inputs, layouts, strict=True)]
    # The others are numbers of levels and images.
    floating = [i for i, x in enumerate(inputs) if np.issubdtype(x.dtype, np.floating)]
    pairs = zip(golden.cotangents, reference.outputs[: len(golden.outputs)], strict=True)
    cotangents = [to_flax(cotangent, layout).astype(dtype) for cotangent, layout in pairs]
    rest = {k: v for k, v in variables.items() if k not in ('params', 'torch_buffers')}
    mutable = ['batch_stats'] if case.train else []

    @quick
    def grad(params, differentiated):
        def loss(params, differentiated):
            given = dict(zip(floating, differentiated, strict=True))
            arrays = [given.get(i, x) for i, x in enumerate(inputs)]
            outputs, _ = module.apply(
                {**rest, 'params': params}, *arrays, **reference.call(case.train), mutable=mutable
            )
            return sum((y * c).sum() for y, c in zip(jax.tree.leaves(outputs), cotangents, strict=False))

        return jax.grad(loss, argnums=(0, 1))(params, differentiated)

    wanted = [inputs[i].astype(dtype) for i in floating]
    of_params, of_inputs = jax.device_get(grad(variables.get('params', {}), wanted))
    found = to_torch(case.reference, {**variables, 'params': of_params}, case.arguments)
    names = list(golden.inputs)
    for i, array in zip(floating, of_inputs, strict=True):
        found[names[i]] = to_channels_first(array, layouts[i])
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
