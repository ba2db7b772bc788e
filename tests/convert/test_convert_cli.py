"""flax-dynconv convert: both directions, what it says, and exit status 2 with one line for everything unusable."""

import json
import subprocess
import sys

import numpy as np
import pytest

from flax_dynconv import cli
from flax_dynconv.convert import from_torch, load_variables, load_weights, save_variables, save_weights
from tests.golden.loader import Golden

OD = 'odconv.ODConv2d'
ARGUMENTS = {'in_planes': 8, 'out_planes': 12, 'kernel_size': 3, 'padding': 1}
TABLE = json.dumps(ARGUMENTS)
STATE = dict(Golden('odconv_k3_n4').state)
OTHER = {key: value + 1 for key, value in STATE.items()}


def prefixed(prefix, state):
    return {f'{prefix}{key}': value for key, value in state.items()}


def convert(*arguments, reference=OD, table=TABLE):
    return cli.main(['convert', *map(str, arguments), '--reference', reference, '--arguments', table])


def same(a, b):
    assert a.keys() == b.keys()
    for key, value in b.items():
        assert a[key].dtype == value.dtype and a[key].tobytes() == np.ascontiguousarray(value).tobytes()


@pytest.mark.parametrize(('suffix', 'between'), [('.npz', '.safetensors'), ('.safetensors', '.npz'), ('.pth', '.pt')])
def test_there_and_back(tmp_path, capsys, suffix, between):
    if suffix == '.pth':
        pytest.importorskip('torch', reason='reads and writes files of torch')
    names = [tmp_path / f'in{suffix}', tmp_path / f'flax{between}', tmp_path / f'out{suffix}']
    save_weights(names[0], prefixed('module.', STATE))
    assert convert(names[0], names[1]) == 0
    there = capsys.readouterr().out.strip()
    assert there.startswith('odconv.ODConv2d: PyTorch -> Flax, from without the prefix')
    variables = load_variables(names[1])
    expected = from_torch(OD, STATE, ARGUMENTS)[1]
    np.testing.assert_array_equal(variables['params']['kernel'], expected['params']['kernel'])
    assert variables.keys() == expected.keys()
    assert convert(names[1], names[2]) == 0
    parameters = sum(value.size for key, value in STATE.items() if 'running' not in key and 'num_batches' not in key)
    back = capsys.readouterr().out.strip()
    assert back == (
        f'odconv.ODConv2d: Flax -> PyTorch, {len(STATE)} arrays, {parameters:,} parameters, written to {names[2]}'
    )
    same(load_weights(names[2]), STATE)


def test_a_checkpoint_of_pytorch(tmp_path, capsys):
    torch = pytest.importorskip('torch', reason='reads a file of torch')
    tensors = {key: torch.tensor(np.array(value)) for key, value in STATE.items()}
    averages = {key: torch.tensor(np.array(value)) for key, value in OTHER.items()}
    torch.save({'model': tensors, 'model_ema': averages, 'epoch': 3}, tmp_path / 'in.pth')
    for options, expected, said in (
        ([], OTHER, "from ['model_ema'], the EMA copy"),
        (['--ema'], OTHER, "from ['model_ema'], the EMA copy"),
        (['--no-ema'], STATE, "from ['model'], not the EMA copy"),
    ):
        assert convert(tmp_path / 'in.pth', tmp_path / 'flax.npz', *options) == 0
        assert said in capsys.readouterr().out
        variables = load_variables(tmp_path / 'flax.npz')
        kernel = from_torch(OD, expected, ARGUMENTS)[1]['params']['kernel']
        np.testing.assert_array_equal(variables['params']['kernel'], kernel)


def test_json(tmp_path, capsys):
    save_weights(tmp_path / 'in.npz', prefixed('model.', STATE) | prefixed('ema_model.', OTHER))
    (tmp_path / 'arguments.json').write_text(json.dumps(ARGUMENTS))
    arguments = ['--json', '--no-ema']
    out = tmp_path / 'out.safetensors'
    assert convert(tmp_path / 'in.npz', out, *arguments, table=f'@{tmp_path}/arguments.json') == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == {
        'ok': True,
        'direction': 'to_flax',
        'reference': OD,
        'unwrapped': "without the prefix 'model.', not the EMA copy",
        'ema': False,
        'arrays': len(STATE) + 1,
        'parameters': summary['parameters'],
        'temperatures': [1.0],
        'output': str(out),
    }
    assert convert(tmp_path / 'none.npz', out, '--json') == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {'ok': False, 'error': f'{tmp_path}/none.npz: no such file'}


def test_a_temperature_is_not_lost_in_silence(tmp_path, capsys):
    _, variables = from_torch(OD, STATE, ARGUMENTS, temperature=30.0)
    save_variables(tmp_path / 'in.npz', variables)
    assert convert(tmp_path / 'in.npz', tmp_path / 'out.npz') == 0
    assert 'temperature [30.0] left out, a state_dict has none' in capsys.readouterr().out


# Deep, but not too deep for the parser.
DEEP = '{"in_planes": ' + '[' * 500 + '8' + ']' * 500 + '}'
HUGE = json.dumps(ARGUMENTS | {'in_planes': 2 * 10**9, 'out_planes': 2 * 10**9, 'kernel_size': 9})
BROKEN = {key: value for key, value in STATE.items() if 'fc' not in key} | {f'x{i}': np.ones(1) for i in range(12)}


@pytest.mark.parametrize(
    ('state', 'target', 'options', 'message'),
    [
        (BROKEN, 'out.npz', {}, "in.npz: the state_dict does not fit, 21 problem(s): unused key 'x0'"),
        (BROKEN, 'out.npz', {}, '; and 11 more'),
        (STATE, 'in.npz', {}, 'in.npz: would be written over the input'),
        (STATE, '../folder/in.npz', {}, 'would be written over the input'),
        (STATE, 'out.h5', {}, 'out.h5: expected a file with the suffix .safetensors'),
        (STATE, 'none/out.npz', {}, 'none/out.npz'),
        (STATE, 'out.npz', {'reference': 'odconv.ODConv2'}, "did you mean 'odconv.ODConv2d'"),
        (STATE, 'out.npz', {'table': '{"in_planes": 8'}, '--arguments: expected a JSON object'),
        (STATE, 'out.npz', {'table': '[8]'}, '--arguments: expected a JSON object, got'),
        (STATE, 'out.npz', {'table': '[' * 100_000}, "--arguments: expected a JSON object, got '[[[["),
        (
            STATE,
            'out.npz',
            {'table': DEEP},
            '--arguments: expected a JSON object of plain values, got \'{"in_planes": [[',
        ),
        (STATE, 'out.npz', {'table': DEEP.replace('[', '{"a":').replace(']', '}')}, 'JSON object of plain values'),
        (STATE, 'out.npz', {'table': HUGE}, 'in.npz: no array can have the shape'),
        (STATE, 'out.npz', {'table': '{"in_planes": 1e9}'}, "argument 'in_planes': expected an int >= 1"),
        (STATE, 'out.npz', {'table': '@none.json'}, 'none.json'),
        (STATE, 'out.npz', {'table': '{}'}, "missing argument 'in_planes'"),
        (STATE, 'out.npz', {'more': ['--ema']}, '--ema: the checkpoint has no EMA copy'),
        ({'a': np.ones(1)}, 'out.npz', {}, "unused key 'a'"),
        ({'params/kernel': np.ones(1)}, 'out.npz', {}, "missing leaf 'params/routing"),
        ({'params/kernel': np.ones(1)}, 'out.npz', {'more': ['--no-ema']}, '--ema and --no-ema: the file holds Flax'),
        ({'params/kernel': np.ones(1), 'x': np.ones(1)}, 'out.npz', {}, "names that are no Flax variables: ['x']"),
    ],
)
def test_what_cannot_be_converted_is_one_line(tmp_path, capsys, state, target, options, message):
    folder = tmp_path / 'folder'
    folder.mkdir()
    save_weights(folder / 'in.npz', state)
    before = (folder / 'in.npz').read_bytes()
    options = dict(options)
    assert convert(folder / 'in.npz', folder / target, *options.pop('more', []), **options) == 2
    printed = capsys.readouterr()
    assert not printed.out and len(printed.err.strip().splitlines()) == 1
    assert printed.err.startswith('error: ') and message in printed.err and len(printed.err) < 3000
    assert [path.name for path in folder.iterdir()] == ['in.npz']
    assert (folder / 'in.npz').read_bytes() == before


@pytest.mark.parametrize(
    ('width', 'message'),
    [
        (1e5, 'in.npz: the state_dict does not fit, 262 problem(s)'),
        (1e9, 'no array can have the shape (1, 1, '),
    ],
)
def test_a_network_of_absurd_width_takes_no_memory(tmp_path, capsys, width, message):
    save_weights(tmp_path / 'in.npz', {'features.18.0.weight': np.ones(1), 'features.18.1.weight': np.ones(1)})
    table = json.dumps({'width_mult': width})
    status = convert(tmp_path / 'in.npz', tmp_path / 'out.npz', reference='torchvision.mobilenet_v2', table=table)
    printed = capsys.readouterr()
    assert status == 2 and len(printed.err.strip().splitlines()) == 1
    assert message in printed.err


def test_as_a_command(tmp_path):
    (tmp_path / 'in.safetensors').write_bytes(b'no weights')
    command = [sys.executable, '-m', 'flax_dynconv.cli', 'convert', 'in.safetensors', 'out.npz', '--reference', OD]
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={'PYTHONPATH': ':'.join(path)})
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith('error: in.safetensors: truncated or damaged')
