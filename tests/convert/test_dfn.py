"""Dynamic Filter Networks against live PyTorch mirrors: steps, whole sequences with gradients, keys, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import Case, CaseError, ConversionError, from_torch, save_reference_case, to_torch, verify
from flax_dynconv.models import SteerableFilter
from tests.golden.loader import Golden
from tests.models.tiny import quick
from tests.torch_mirrors import dfn, torch
from tests.torch_mirrors.lively import lively

PIXELS, WIDTH = 8, 1 / 8
SMALL = {'pixels': PIXELS, 'width': WIDTH}
# Reference -> mirror, arguments of both, frames and channels of the state.
CASES = {
    'dfn.MovingMNIST': (dfn.moving_mnist, {}, 1, 128),
    'dfn.Highway': (dfn.highway, {'filter_size': 5}, 2, 64),
    'dfn.Stereo': (dfn.stereo, {}, 1, None),
}
PARAMETERS = {'dfn.MovingMNIST': 637_361, 'dfn.Highway': 368_122, 'dfn.Stereo': 464_494}


def draw(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def live(reference):
    """A mirror, its arguments and the inputs of one step."""
    make, arguments, buffer, state = CASES[reference]
    arguments = {**SMALL, **arguments}
    inputs = [draw(2, buffer, PIXELS, PIXELS)]
    if state:
        inputs.append(draw(2, round(state * WIDTH), PIXELS // 2, PIXELS // 2) - 0.5)
    return lively(make(**arguments)), arguments, inputs


@pytest.mark.parametrize('reference', CASES)
def test_one_step(tmp_path, reference):
    module, arguments, inputs = live(reference)
    names = ['enc.1', 'mid', 'dec.0', 'filt']
    settings = {'reference': reference, 'arguments': arguments, 'inputs': inputs, 'activations': names}
    case = save_reference_case(tmp_path / 'case.npz', module, **settings)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-10)
    assert report.ok and not report.skipped and report.first_difference is None, str(report)
    assert len(report.outputs) == len(case.outputs) == (3 if len(inputs) == 2 else 2)
    state = module.state_dict()
    _, variables = from_torch(reference, state, arguments)
    back = to_torch(reference, variables, arguments)
    assert back.keys() == state.keys()
    assert all(back[k].tobytes() == v.numpy().tobytes() for k, v in state.items())
    case.state_dict['filt.bias'][3] += 0.1
    assert not verify(case, dtype='float64').ok


@pytest.mark.parametrize('reference', CASES)
def test_keys_of_the_whole_network(reference):
    module = CASES[reference][0]()
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[reference]
    _, variables = from_torch(reference, module.state_dict())
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == PARAMETERS[reference]


def test_the_steerable_filter(tmp_path):
    module = lively(dfn.SteerableFilter(5))
    inputs, arguments = [draw(3, 1, 9, 8), 6 * draw(3)], {'filter_size': 5}
    path, settings = tmp_path / 'case.npz', {'reference': 'dfn.SteerableFilter', 'arguments': arguments}
    case = save_reference_case(path, module, inputs=inputs, **settings)
    assert [y.shape for y in case.outputs] == [(3, 1, 9, 8), (3, 25)]
    report = verify(path, dtype='float64', tolerance=1e-10)
    assert report.ok, str(report)
    back = to_torch(
        'dfn.SteerableFilter', from_torch('dfn.SteerableFilter', module.state_dict(), arguments)[1], arguments
    )
    assert all(back[k].tobytes() == v.numpy().tobytes() for k, v in module.state_dict().items())


def test_a_case_may_leave_out_the_filters_and_nothing_else():
    golden = Golden('dfn_steerable').case('eval')

    def case(*outputs):
        return Case(golden.reference, {}, golden.state_dict, golden.inputs, outputs)

    assert verify(case(golden.outputs[0]), dtype='float64').ok
    with pytest.raises(CaseError, match=r'returns 2 output\(s\), the case has 3'):
        verify(case(*golden.outputs, golden.outputs[0]))
    step = Golden('dfn_mnist_step').case('eval')
    assert len(step.outputs) == 2  # of three
    with pytest.raises(CaseError, match=r'returns 3 output\(s\), the case has 1'):
        verify(Case(step.reference, {}, step.state_dict, step.inputs, step.outputs[:1]))


def test_an_angle_that_is_no_vector_is_refused():
    golden = Golden('dfn_steerable').case('eval')
    inputs = golden.inputs[0], golden.inputs[1][:, None]
    with pytest.raises(CaseError, match=r'input/1: expected 1 dimensions'):
        verify(Case(golden.reference, {}, golden.state_dict, inputs, golden.outputs))


def test_the_filters_of_the_golden_step():
    golden = Golden('dfn_mnist_step')
    with jax.enable_x64(True):
        module, variables = from_torch('dfn.MovingMNIST', golden.state, param_dtype=jnp.float64)
        inputs = [np.moveaxis(x, 1, -1).astype(np.float64) for x in golden.inputs.values()]
        _, _, taps = jax.jit(lambda v, *x: module.apply(v, *x, method='step'))(variables, *inputs)
    found = np.moveaxis(np.asarray(taps), -1, 1)[:, :, ::4, ::4]
    assert np.abs(found - golden.arrays['out.filters_sub']).max() <= 1e-9


SEQUENCES = {
    'dfn.MovingMNIST': (5, 5, {}),
    'dfn.Highway': (3, 3, {}),
    'dfn.Stereo': (1, 1, {}),
    'variants': (3, 2, {'filtering': False, 'refinement': True}),
}


@pytest.mark.parametrize('name', SEQUENCES)
def test_whole_sequences_with_gradients(name):
    """All predictions, and the gradients of all weights and of every frame that was given, float64."""
    given, wanted, fields = SEQUENCES[name]
    reference = name if name in CASES else 'dfn.Highway'
    make, arguments, buffer, _ = CASES[reference]
    arguments = {**SMALL, **arguments}
    module = lively(make(**arguments, **fields))
    frames = draw(2, given, 1, PIXELS, PIXELS).requires_grad_()
    expected = module.unroll(frames, wanted)
    cotangent = draw(*expected.shape) - 0.5
    (expected * cotangent).sum().backward()

    own = {k: v for k, v in module.state_dict().items() if k.split('.')[0] not in ('out', 'ref')}
    extra = {k.replace('.', '_', k.startswith('ref')): v for k, v in module.state_dict().items() if k not in own}
    with jax.enable_x64(True):
        model, variables = from_torch(reference, own, arguments)
        model = model.clone(output_frames=wanted, **fields)
        params = dict(variables['params'])
        for key, value in extra.items():
            path, leaf = key.split('.')
            array = value.numpy().transpose(2, 3, 1, 0) if leaf == 'weight' else value.numpy()
            params.setdefault(path, {})['kernel' if leaf == 'weight' else 'bias'] = array
        x = np.moveaxis(frames.detach().numpy(), 2, -1)

        def loss(params, x):
            y = model.apply({'params': params}, x)
            return (y * np.moveaxis(cotangent.numpy(), 2, -1)).sum(), y

        grad = quick(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        (_, y), (of_params, of_frames) = jax.device_get(grad(params, x))
    assert y.dtype == np.float64
    close = {'rtol': 1e-9, 'atol': 1e-9}
    np.testing.assert_allclose(np.moveaxis(y, -1, 2), expected.detach().numpy(), **close)
    np.testing.assert_allclose(np.moveaxis(of_frames, -1, 2), frames.grad.numpy(), **close)
    found = to_torch(
        reference, {'params': {k: v for k, v in of_params.items() if k[:3] not in ('out', 'ref')}}, arguments
    )
    gradients = {k: p.grad.numpy() for k, p in module.named_parameters()}
    for key, array in found.items():
        scale = np.abs(gradients[key]).max()
        np.testing.assert_allclose(array, gradients[key], rtol=1e-9, atol=1e-9 * max(1, scale), err_msg=key)
        assert scale > 0 or (key.startswith('hid') and buffer == 1 and given == 1), key
    for key in extra:
        path, leaf = key.split('.')
        array = of_params[path]['kernel' if leaf == 'weight' else 'bias']
        array = array.transpose(3, 2, 0, 1) if leaf == 'weight' else array
        torch_key = key.replace('_', '.', key.startswith('ref'))
        np.testing.assert_allclose(array, gradients[torch_key], **close, err_msg=key)


@pytest.mark.parametrize('reference', CASES)
def test_frames_that_are_no_squares(tmp_path, reference):
    make, arguments, buffer, state = CASES[reference]
    height, width = 6, 10
    arguments = {'width': WIDTH, **arguments, 'pixels': [height, width]}
    inputs = [draw(2, buffer, height, width)]
    if state:
        inputs.append(draw(2, round(state * WIDTH), height // 2, width // 2) - 0.5)
    module = make(**arguments)
    case = {'reference': reference, 'arguments': arguments, 'inputs': inputs}
    save_reference_case(tmp_path / 'case.npz', module.double(), **case)
    report = verify(tmp_path / 'case.npz', dtype='float64', tolerance=1e-10)
    assert report.ok, str(report)


def test_pixels_that_no_frames_have():
    state = dfn.stereo(**SMALL).state_dict()
    for pixels in (1, (8, 8, 8), '8', (8, 0)):
        with pytest.raises(ConversionError, match=r"'pixels': expected an int >= 2 or 2 of them, got"):
            from_torch('dfn.Stereo', state, SMALL | {'pixels': pixels})
    with pytest.raises(ConversionError, match=r'expected an even height and width, got \(8, 7\)'):
        from_torch('dfn.Stereo', state, SMALL | {'pixels': (8, 7)})


def test_the_arguments_make_the_field():
    module, _ = from_torch('dfn.SteerableFilter', dfn.SteerableFilter(3).state_dict(), {'filter_size': 3})
    assert isinstance(module, SteerableFilter) and module.filter_size == 3
