"""verify and its command: differences, bounds, exit status, the first module that differs, unusable cases."""

import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.cli import main
from flax_dynconv.convert import CaseError, get_reference, save_case, verify
from flax_dynconv.convert.activations import ModuleNames
from tests.golden.loader import Golden

# The smallest golden layer, in evaluation mode.
SMALL = Golden('dynconv1d_k3').case('eval')


def changed(case, **changes):
    return dataclasses.replace(case, **changes)


def with_weight(case, key, value):
    return changed(case, state_dict={**case.state_dict, key: value})


def with_infinity(x):
    x = x.copy()
    x[0, 0, 0] = -np.inf
    return x


@pytest.fixture
def files(tmp_path):
    """Paths of a good case, one with a wrong output and one with a missing key."""
    cases = {
        'good': SMALL,
        'wrong': changed(SMALL, outputs=(SMALL.outputs[0] + 1e-3,)),
        'empty': changed(SMALL, inputs=(SMALL.inputs[0][:0],), outputs=(SMALL.outputs[0][:0],)),
        'unusable': changed(SMALL, state_dict={k: v for k, v in SMALL.state_dict.items() if k != 'bias'}),
    }
    for name, case in cases.items():
        save_case(tmp_path / f'{name}.npz', case)
    return {name: str(tmp_path / f'{name}.npz') for name in cases}


def test_difference_and_bound():
    output = SMALL.outputs[0].copy()
    output[1, 2, 3] += 0.25
    report = verify(changed(SMALL, outputs=(output,)), tolerance=1e-2, dtype='float64')
    (comparison,) = report.outputs
    assert comparison.difference == pytest.approx(0.25, abs=1e-9)
    assert comparison.bound == pytest.approx(1e-2 * max(1.0, np.abs(output).max()))
    assert not report.ok
    assert 'OUTSIDE  output/0' in str(report)
    assert verify(changed(SMALL, outputs=(output,)), tolerance=0.25).ok


def test_the_bound_grows_with_the_output_but_not_below_one():
    small = verify(changed(SMALL, outputs=(SMALL.outputs[0] * 1e-3,)))
    assert small.outputs[0].bound == 1e-5
    large = verify(changed(SMALL, outputs=(SMALL.outputs[0] * 1e3,)))
    assert large.outputs[0].bound == pytest.approx(1e-2 * np.abs(SMALL.outputs[0]).max())


def test_an_output_of_another_shape():
    report = verify(changed(SMALL, outputs=(SMALL.outputs[0][:, :, 1:],)))
    assert not report.ok
    assert report.as_dict()['outputs'][0]['difference'] is None
    assert 'shape (3, 10, 11), expected (3, 10, 10)' in str(report)


def test_bfloat16_is_close_and_no_closer():
    assert verify(SMALL, dtype='bfloat16', tolerance=6e-2).ok
    assert not verify(SMALL, dtype='bfloat16', tolerance=1e-5).ok


def test_float64_leaves_the_switch_alone():
    before = jax.config.jax_enable_x64
    assert verify(SMALL, dtype='float64', tolerance=1e-9).ok
    assert jax.config.jax_enable_x64 == before
    assert jnp.ones(1).dtype == (jnp.float64 if before else jnp.float32)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_no_multiplication_below_the_precision_of_the_dtype(dtype):
    """Accelerators multiply float32 in fewer bits unless every operation is told otherwise while it is traced."""
    seen = []

    def look(next_function, args, kwargs, context):
        seen.append(jax.config.jax_default_matmul_precision)
        return next_function(*args, **kwargs)

    with nn.intercept_methods(look):
        verify(SMALL, dtype=dtype)
    assert len(seen) > 4 and set(seen) == {'highest'}


def test_temperature_of_the_case_then_of_the_constructor():
    cold = {**SMALL.arguments, 'temperature': 1}
    hot = {**SMALL.arguments, 'temperature': 34}
    default = {name: value for name, value in SMALL.arguments.items() if name != 'temperature'}
    assert verify(changed(SMALL, temperature=1.0, arguments=hot)).ok
    assert verify(changed(SMALL, temperature=None, arguments=cold)).ok
    for arguments in (hot, default):
        report = verify(changed(SMALL, temperature=None, arguments=arguments))
        assert report.temperature == 34.0
        assert not report.ok


def test_buffers_after_training():
    case = Golden('odconv_k1_n1').case('train')
    after = dict(case.state_after)
    key = 'attention.bn.running_var'
    biased = changed(case, state_after={**after, key: 0.9 * after[key]})
    assert [c.name for c in verify(biased).state_after if not c.ok] == [f'state_after/{key}']
    # A counter is a whole number: no tolerance makes 2 out of 1.
    counted = changed(case, state_after={'attention.bn.num_batches_tracked': np.asarray(2)})
    assert not verify(counted, tolerance=10).ok
    with pytest.raises(CaseError, match=r"state_after has keys that the state_dict does not have: \['bn\.mean'\]"):
        verify(changed(case, state_after={'bn.mean': np.ones(3)}))


def test_first_module_that_differs():
    case = Golden('odconv_k1_n1').case('eval')
    x, state = case.inputs[0].astype(np.float64), case.state_dict
    # What PyTorch's modules give, computed here: 1x1 convolution of the pooled input, batch norm in evaluation, heads.
    fc = x.mean((2, 3)) @ state['attention.fc.weight'][:, :, 0, 0].T.astype(np.float64)
    mean, var, scale, bias = (
        state[f'attention.bn.{leaf}'][None] for leaf in ('running_mean', 'running_var', 'weight', 'bias')
    )
    bn = (fc - mean) / np.sqrt(var + 1e-5) * scale + bias
    hidden = np.maximum(bn, 0)
    heads = {
        f'attention.{head}_fc': hidden @ state[f'attention.{head}_fc.weight'][:, :, 0, 0].T
        + state[f'attention.{head}_fc.bias'][None]
        for head in ('channel', 'filter')
    }
    good = {'attention.fc': fc, 'attention.bn': bn, **heads}
    # Given in another order, as (B, C, 1, 1), with one that has no counterpart.
    given = {name: good[name][..., None, None] for name in reversed(good)} | {'attention.relu': hidden}
    report = verify(changed(case, activations=given))
    assert report.ok and report.first_difference is None
    assert report.skipped == ('attention.relu',)
    assert [c.name for c in report.activations][:2] == ['activation/attention.fc', 'activation/attention.bn']
    for key, module in (
        ('attention.fc.weight', 'attention.fc'),
        ('attention.bn.running_var', 'attention.bn'),
        ('attention.filter_fc.bias', 'attention.filter_fc'),
    ):
        report = verify(changed(with_weight(case, key, state[key] * 1.5), activations=given))
        assert not report.ok
        assert report.first_difference == module
        assert f'first module that differs: {module}' in str(report)


def test_names_of_modules_in_networks():
    reference = get_reference('odconv.od_resnet50')
    names = ModuleNames(reference, reference.signature.bind('', {}))
    for torch, flax in {
        'conv1': 'conv1',
        'layer3.5.conv3': 'layer3_5/conv3',
        'layer3.5.conv3.attention.fc': 'layer3_5/conv3/routing/hidden',
        'layer3.5.conv3.attention.spatial_fc': 'layer3_5/conv3/routing/spatial',
        'layer2.0.downsample.0': 'layer2_0/downsample_0',
        'layer2.0.downsample': 'layer2_0/downsample_1',
        'layer2.0': 'layer2_0',
        'layer3': 'layer3_5',
        'fc': 'fc',
    }.items():
        assert names.find(torch)[0] == flax
    assert names.find('maxpool') is None


@pytest.mark.parametrize(
    ('case', 'match'),
    [
        (changed(SMALL, reference='dynconv.DynamicConv1d'), "did you mean 'dynconv.Dynamic_conv1d'"),
        (changed(SMALL, arguments={'in_planes': 6}), "missing argument 'out_planes'; missing argument 'kernel_size'"),
        (changed(SMALL, inputs=SMALL.inputs * 2), r'takes 1 input\(s\), the case has 2'),
        (changed(SMALL, outputs=SMALL.outputs * 2), r'returns 1 output\(s\), the case has 2'),
        (
            changed(SMALL, inputs=(SMALL.inputs[0][:, :5],)),
            r'input/0: expected 3 dimensions \(channels_first\) and 6 channels, got shape \(3, 5, 11\)',
        ),
        (changed(SMALL, inputs=(SMALL.inputs[0][0],)), 'input/0: expected 3 dimensions'),
        (with_weight(SMALL, 'bias', np.full((4, 10), np.nan)), "'bias': 40 of 40 values are NaN or infinite"),
        (with_weight(SMALL, 'bias', np.zeros((10, 4))), r"'bias': expected shape \(4, 10\), got \(10, 4\)"),
        (with_weight(SMALL, 'biases', np.zeros(4)), "unused key 'biases'"),
        (
            changed(SMALL, inputs=(SMALL.inputs[0][:0],), outputs=(SMALL.outputs[0][:0],)),
            r'output/0: shape \(0, 10, 11\) has no elements, nothing can be compared',
        ),
        (changed(SMALL, outputs=(SMALL.outputs[0][:0],)), 'output/0: .*has no elements'),
        (changed(SMALL, inputs=(np.full_like(SMALL.inputs[0], np.nan),)), 'input/0: 198 of 198 values are NaN'),
        (changed(SMALL, inputs=(with_infinity(SMALL.inputs[0]),)), 'input/0: 1 of 198 values are NaN or infinite'),
    ],
)
def test_unusable_cases(case, match):
    with pytest.raises(CaseError, match=match):
        verify(case)


def test_random_dropout_cannot_be_verified():
    golden = Golden('seed_dynet_k3').case('eval')
    with pytest.raises(CaseError, match=r'training mode with dropout_rate=0\.2: .*cannot be reproduced'):
        verify(changed(golden, train=True))
    without = {**golden.arguments, 'dropout_rate': 0}
    assert verify(changed(golden, train=True, arguments=without)).ok


def test_settings():
    with pytest.raises(ValueError, match=r"dtype: expected one of .*, got 'float16'"):
        verify(SMALL, dtype='float16')
    with pytest.raises(ValueError, match='tolerance: expected a number >= 0, got -1'):
        verify(SMALL, tolerance=-1)


def test_command_in_this_process(files, capsys):
    assert main(['verify', files['good'], '--json', '--dtype', 'float64', '--tolerance', '1e-9']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['ok'] and report['dtype'] == 'float64' and report['tolerance'] == 1e-9
    assert report['outputs'][0]['name'] == 'output/0'
    assert report['outputs'][0]['difference'] <= report['outputs'][0]['bound']
    assert main(['verify', files['wrong'], '--tolerance', '1e-2']) == 0
    assert main(['verify', files['unusable'], '--json']) == 2
    captured = capsys.readouterr()
    assert "missing key 'bias'" in captured.err
    assert "missing key 'bias'" in captured.out
    assert main(['verify', files['empty']]) == 2
    for wrong in (['--tolerance', '-1'], ['--tolerance', 'x'], ['--dtype', 'int8']):
        with pytest.raises(SystemExit) as caught:
            main(['verify', files['good'], *wrong])
        assert caught.value.code == 2


@pytest.mark.parametrize(('name', 'status'), [('good', 0), ('wrong', 1), ('unusable', 2)])
def test_exit_status_of_the_command(files, name, status):
    command = [sys.executable, '-m', 'flax_dynconv.cli', 'verify', files[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    if status < 2:
        assert 'max|a-b|' in done.stdout and 'bound' in done.stdout
    else:
        assert f'error: {files[name]}: the state_dict does not fit' in done.stderr
