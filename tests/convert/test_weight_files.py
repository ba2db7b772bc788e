"""Files of weights: every format, dtypes kept, damage and code refused with the file's name, nothing executed."""

import argparse
import pickle
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from flax_dynconv.convert import (
    CaseError,
    load_variables,
    load_weights,
    save_variables,
    save_weights,
    torch_files,
)

NUMPY = ['.safetensors', '.npz']
TORCH = list(torch_files.SUFFIXES)
ARRAYS = {
    'conv.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
    'bn.num_batches_tracked': np.asarray(2**40 + 1),
    'half': np.array([1.5, -2], np.float16),
    'brain': np.array([1.5, 3e38], jnp.bfloat16),
    'double': np.array([np.pi]),
    'mask': np.array([True, False]),
    'meta': np.ones(2, np.float32),
    'empty': np.zeros((0, 3), np.float32),
}
VARIABLES = {
    'params': {'conv1': {'kernel': np.ones((3, 3, 1, 2), np.float32)}, 'fc': {'kernel': jnp.ones((2, 3))}},
    'batch_stats': {'bn1': {'mean': np.zeros(2, np.float32)}},
    'temperature': {'routing': {'value': np.float32(3)}},
    'torch_buffers': {'bn1': {'num_batches_tracked': np.asarray(5)}},
}


def with_torch(suffix):
    return pytest.importorskip('torch', reason='reads and writes files of torch') if suffix in TORCH else None


class Bomb:
    """Something whose unpickling would be noticed."""

    def __reduce__(self):
        return (exec, ('raise SystemExit("executed")',))


@pytest.mark.parametrize('suffix', NUMPY + TORCH)
def test_round_trip_is_bitwise(tmp_path, suffix):
    with_torch(suffix)
    path = tmp_path / f'weights{suffix}'
    save_weights(path, ARRAYS)
    read = load_weights(path)
    assert read.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        # .npz has no bfloat16: float32 holds the same numbers.
        expected = array.astype(np.float32) if suffix == '.npz' and key == 'brain' else array
        assert (read[key].dtype, read[key].shape) == (expected.dtype, expected.shape)
        assert read[key].tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize('suffix', [*NUMPY, '.pth'])
def test_variables(tmp_path, suffix):
    with_torch(suffix)
    path = tmp_path / f'variables{suffix}'
    save_variables(path, VARIABLES)
    read = load_variables(path)
    assert read.keys() == VARIABLES.keys()
    np.testing.assert_array_equal(read['params']['fc']['kernel'], np.ones((2, 3)))
    assert read['torch_buffers']['bn1']['num_batches_tracked'] == 5
    assert read['temperature']['routing']['value'].shape == ()
    assert 'params/conv1/kernel' in load_weights(path)


def test_safetensors_say_whose_keys_they_have(tmp_path):
    save_weights(tmp_path / 'a.safetensors', ARRAYS)
    save_variables(tmp_path / 'b.safetensors', VARIABLES)
    for name, framework in (('a', 'pt'), ('b', 'flax')):
        with safe_open(tmp_path / f'{name}.safetensors', framework='np') as file:
            assert file.metadata() == {'format': framework}


def test_a_file_of_pytorch_is_an_ordinary_state_dict(tmp_path):
    torch = with_torch('.pth')
    save_weights(tmp_path / 'weights.pth', ARRAYS)
    state = torch.load(tmp_path / 'weights.pth', weights_only=True)
    assert type(state) is dict and state['brain'].dtype == torch.bfloat16
    assert state['bn.num_batches_tracked'].shape == () and state['bn.num_batches_tracked'] == 2**40 + 1


def test_checkpoints_keep_their_structure(tmp_path):
    torch = with_torch('.pth')
    layer = torch.nn.Linear(2, 3)
    checkpoint = {
        'model': {'weight': layer.weight, 'half': torch.ones(2, dtype=torch.bfloat16)},
        'epoch': 3,
        'best': np.float64(0.5),
        'args': argparse.Namespace(lr=0.1),
        'optimizer': torch.optim.SGD(layer.parameters(), lr=0.1).state_dict(),
        'other': torch.ones(2, dtype=torch.complex64),
        'none': None,
    }
    for legacy in (False, True):
        torch.save(checkpoint, tmp_path / 'c.pt', _use_new_zipfile_serialization=not legacy)
        read = load_weights(tmp_path / 'c.pt')
        assert read['epoch'] == 3 and read['args'].lr == 0.1 and read['none'] is None and read['best'] == 0.5
        np.testing.assert_array_equal(read['model']['weight'], layer.weight.detach().numpy())
        assert read['model']['half'].dtype == jnp.bfloat16


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('suffix', TORCH)
def test_code_in_a_file_of_pytorch_is_refused(tmp_path, suffix):
    torch = with_torch(suffix)
    path = tmp_path / f'weights{suffix}'
    torch.save({'weight': torch.ones(2), 'x': Bomb()}, path)
    with pytest.raises(CaseError, match=rf'weights\{suffix}: holds more than weights \(exec\), which is refused'):
        load_weights(path)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(CaseError, match=r'\(torch\.nn\.modules\.linear\.Linear\).*torch\.save\(module\.state_dict\(\)'):
        load_weights(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CaseError, match='truncated or damaged, or a pickle that is no file of weights'):
        load_weights(path)


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::UserWarning')
def test_programs_of_torchscript_are_refused(tmp_path):
    torch = with_torch('.pt')
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / 'program.pt')
    with pytest.raises(CaseError, match=r'program\.pt: a TorchScript archive'):
        load_weights(tmp_path / 'program.pt')


@pytest.mark.parametrize('suffix', NUMPY)
def test_pickles_under_another_name_are_refused(tmp_path, suffix):
    path = tmp_path / f'weights{suffix}'
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CaseError, match=r'pickles are refused|truncated or damaged'):
        load_weights(path)
    np.savez(tmp_path / 'objects.npz', weight=np.array([Bomb()], dtype=object))
    with pytest.raises(CaseError, match="'weight' holds pickled objects, which are refused"):
        load_weights(tmp_path / 'objects.npz')
    np.savez(tmp_path / 'text.npz', weight=np.array('text'))
    with pytest.raises(CaseError, match=r"text\.npz: 'weight': expected an array of numbers"):
        load_weights(tmp_path / 'text.npz')


@pytest.mark.parametrize('suffix', [*NUMPY, '.pth'])
@pytest.mark.parametrize('keep', [0.0, 0.5, 0.99])
def test_truncated(tmp_path, suffix, keep):
    with_torch(suffix)
    path = tmp_path / f'weights{suffix}'
    save_weights(path, ARRAYS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(CaseError, match=rf'weights\{suffix}: .*truncated'):
        load_weights(path)


def test_a_truncated_file_of_old_pytorch(tmp_path):
    torch = with_torch('.pth')
    torch.save({'weight': torch.ones(200)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    data = (tmp_path / 'old.pth').read_bytes()
    for length in (40, len(data) // 4, len(data) - 9):
        (tmp_path / 'old.pth').write_bytes(data[:length])
        with pytest.raises(CaseError, match=r'old\.pth: truncated'):
            load_weights(tmp_path / 'old.pth')


@pytest.mark.parametrize('suffix', [*NUMPY, '.pth'])
def test_missing_file_and_directory(tmp_path, suffix):
    path = tmp_path / f'weights{suffix}'
    with pytest.raises(CaseError, match='no such file'):
        load_weights(path)
    path.mkdir()
    with pytest.raises(CaseError, match=rf'weights\{suffix}: is a directory, expected a file'):
        load_weights(path)


@pytest.mark.parametrize('name', ['weights.h5', 'weights', 'weights.npy', 'weights.tar', 'weights.pt.tar'])
def test_other_suffixes(tmp_path, name):
    expected = r'expected a file with the suffix \.safetensors, \.npz, .*\.bin or \.ckpt'
    with pytest.raises(CaseError, match=expected):
        load_weights(tmp_path / name)
    with pytest.raises(CaseError, match=expected):
        save_weights(tmp_path / name, ARRAYS)


def test_what_is_no_table(tmp_path):
    torch = with_torch('.pth')
    torch.save([torch.ones(2)], tmp_path / 'list.pth')
    with pytest.raises(CaseError, match='expected a table of names and tensors, got list'):
        load_weights(tmp_path / 'list.pth')


def test_what_cannot_be_saved(tmp_path):
    for suffix in NUMPY:
        with pytest.raises(TypeError, match='expected an array of numbers'):
            save_weights(tmp_path / f'a{suffix}', {'x': np.array(['text'])})
    with pytest.raises(TypeError, match='expected an array, got int'):
        save_weights(tmp_path / 'a.npz', {'x': 3})


@pytest.mark.parametrize(
    ('arrays', 'match'),
    [
        ({'fc.weight': np.ones(2)}, r'no arrays named params/\.\.\.'),
        ({'params/a': np.ones(2), 'params/a/b': np.ones(2)}, r"names that are no Flax variables: \['params/a'\]"),
        ({'params/a': np.ones(2), 'epoch': np.ones(2)}, r"no Flax variables: \['epoch'\]"),
        ({'params/a': np.ones(2), 'params//b': np.ones(2)}, r"no Flax variables: \['params//b'\]"),
    ],
)
def test_files_that_hold_no_variables(tmp_path, arrays, match):
    save_weights(tmp_path / 'x.safetensors', arrays)
    with pytest.raises(CaseError, match=rf'x\.safetensors: .*{match}'):
        load_variables(tmp_path / 'x.safetensors')


def test_without_torch_the_error_says_how_to_convert(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    path = tmp_path / 'weights.pth'
    path.write_bytes(b'anything')
    with pytest.raises(
        ImportError, match=r"weights\.pth: \.pth files need torch.*s\.save_file\(torch\.load\('weights\.p"
    ):
        load_weights(path)
    for suffix in TORCH:
        with pytest.raises(
            ImportError, match=rf'\{suffix} files need torch.*installed\. Write out\.safetensors instead'
        ) as e:
            save_weights(tmp_path / f'out{suffix}', ARRAYS)
        assert 'torch.load' not in str(e.value) and not (tmp_path / f'out{suffix}').exists()


@pytest.mark.parametrize('suffix', ['.pth', '.pth.tar'])
def test_the_way_to_convert_works(tmp_path, monkeypatch, suffix):
    torch = with_torch('.pth')
    torch.save({'weight': torch.arange(3.0)}, tmp_path / f'weights{suffix}')
    with monkeypatch.context() as patch, pytest.raises(ImportError) as caught:
        patch.setitem(sys.modules, 'torch', None)
        load_weights(tmp_path / f'weights{suffix}')
    code = str(caught.value).split('python -c "')[1].split('"')[0]
    subprocess.run([sys.executable, '-c', code], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(load_weights(tmp_path / 'weights.safetensors')['weight'], [0, 1, 2])


def test_a_reference_case_is_no_file_of_variables(tmp_path):
    np.savez(tmp_path / 'case.npz', **{'state_dict/weight': np.ones(2), 'input/0': np.ones(2)})
    with pytest.raises(CaseError, match=r'no arrays named params/\.\.\.'):
        load_variables(tmp_path / 'case.npz')
