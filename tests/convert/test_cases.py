"""Reference case files: both formats, every way of being unusable, and nothing in a file is ever executed."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from flax_dynconv.convert import Case, CaseError, load_case, save_case

CASE = Case(
    reference='odconv.ODConv2d',
    arguments={'in_planes': 8, 'kernel_size': [3, 3], 'bias': True, 'p': None},
    state_dict={
        'weight': np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        'bn.num_batches_tracked': np.asarray(7),
    },
    inputs=tuple(np.full((1, 2), float(i)) for i in range(12)),
    outputs=(np.ones((2, 2), np.float16), np.zeros(0)),
    temperature=2.5,
    train=True,
    state_after={'bn.num_batches_tracked': np.asarray(8)},
    activations={'layer1.0.conv1': np.ones((1, 2, 3), np.float32)},
)
META = {'reference': 'odconv.ODConv2d', 'arguments': {}, 'temperature': 1.0, 'train': False}
ARRAYS = {'state_dict/weight': np.ones(3), 'input/0': np.ones(3), 'output/0': np.ones(3)}


def write(path, arrays=None, meta=META, **more):
    """An .npz with usable arrays and `meta` unless told otherwise."""
    arrays = dict(ARRAYS if arrays is None else arrays)
    if meta is not None:
        arrays['meta'] = np.array(meta if isinstance(meta, str) else json.dumps(meta))
    np.savez(path, **arrays, **more)
    return path


@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f'case.{suffix}'
    save_case(path, CASE)
    read = load_case(path)
    for field in ('reference', 'arguments', 'temperature', 'train'):
        assert getattr(read, field) == getattr(CASE, field)
    for field in ('state_dict', 'state_after', 'activations'):
        assert getattr(read, field).keys() == getattr(CASE, field).keys()
    pairs = [(a, b) for f in ('inputs', 'outputs') for a, b in zip(getattr(read, f), getattr(CASE, f), strict=True)]
    pairs += [(read.state_dict[k], CASE.state_dict[k]) for k in CASE.state_dict]
    pairs += [(read.activations[k], CASE.activations[k]) for k in CASE.activations]
    for a, b in pairs:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('as_bytes', [False, True])
def test_meta_as_bytes(tmp_path, as_bytes):
    text = json.dumps(META).encode()
    meta = np.frombuffer(text, np.uint8) if as_bytes else np.array([text])
    np.savez(tmp_path / 'case.npz', meta=meta, **ARRAYS)
    assert load_case(tmp_path / 'case.npz').reference == META['reference']
    if as_bytes:
        save_file({**ARRAYS, 'meta': meta}, tmp_path / 'case.safetensors')
        assert load_case(tmp_path / 'case.safetensors').reference == META['reference']


def test_meta_without_optional_entries(tmp_path):
    case = load_case(write(tmp_path / 'case.npz', meta={'reference': 'a.B'}))
    assert (case.arguments, case.temperature, case.train) == ({}, None, False)


@pytest.mark.parametrize(
    ('meta', 'match'),
    [
        (None, "no 'meta': expected a JSON string"),
        ('{"reference": ', "'meta' is not JSON"),
        ('[1]', "'meta' must be a JSON object"),
        ({'arguments': {}}, r"meta\['reference'\] must be a string, got None"),
        ({**META, 'arguments': [1]}, r"meta\['arguments'\] must be a flat table"),
        ({**META, 'arguments': {'a': {'b': 1}}}, r"meta\['arguments'\] must be a flat table"),
        ({**META, 'temperature': 0}, r"meta\['temperature'\] must be a number > 0 or null, got 0"),
        ({**META, 'temperature': True}, r"meta\['temperature'\] must be a number > 0 or null, got True"),
        ({**META, 'train': 'no'}, r"meta\['train'\] must be true or false, got 'no'"),
    ],
)
def test_unusable_meta(tmp_path, meta, match):
    with pytest.raises(CaseError, match=match):
        load_case(write(tmp_path / 'case.npz', meta=meta))
    if isinstance(meta, dict) or meta is None:
        header = None if meta is None else {'meta': json.dumps(meta)}
        save_file(ARRAYS, tmp_path / 'case.safetensors', metadata=header)
        with pytest.raises(CaseError, match=match):
            load_case(tmp_path / 'case.safetensors')


def test_meta_of_another_dtype(tmp_path):
    with pytest.raises(CaseError, match="'meta' must be one string, got an array of dtype float64"):
        load_case(write(tmp_path / 'case.npz', {**ARRAYS, 'meta': np.ones(3)}, meta=None))


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'output/0': None}, r'no arrays named output/\.\.\.$'),
        ({'output/0': None, 'input/0': None}, r'no arrays named input/\.\.\. or output/\.\.\.$'),
        ({'state_dict/weight': None}, r'no arrays named state_dict/\.\.\.$'),
        ({'output/0': None, 'output/1': np.ones(2)}, r"expected output/0 to output/0, got \['output/1'\]"),
        ({'input/x': np.ones(2)}, r"expected input/0 to input/1, got \['input/0', 'input/x'\]"),
        ({'input/01': np.ones(2)}, r"expected input/0 to input/1, got \['input/0', 'input/01'\]"),
        ({'weights/a': np.ones(2), 'state_dict/': np.ones(1)}, r"unknown arrays \['weights/a', 'state_dict/'\]"),
        ({'output/0': np.array([1.0, np.nan])}, 'output/0 has values that are NaN or infinite'),
        ({'input/0': np.array(['text'])}, "'input/0': expected an array of numbers, got dtype <U4"),
    ],
)
def test_unusable_arrays(tmp_path, change, match):
    arrays = {name: array for name, array in {**ARRAYS, **change}.items() if array is not None}
    with pytest.raises(CaseError, match=match):
        load_case(write(tmp_path / 'case.npz', arrays))


class Bomb:
    """Something whose unpickling would be noticed."""

    def __reduce__(self):
        return (exec, ('raise SystemExit("executed")',))


def test_object_arrays_are_refused(tmp_path):
    arrays = {**ARRAYS, 'state_dict/weight': np.array([Bomb()], dtype=object)}
    with pytest.raises(CaseError, match="'state_dict/weight' holds pickled objects, which are refused"):
        load_case(write(tmp_path / 'case.npz', arrays))


def test_pickles_are_refused(tmp_path):
    for suffix in ('npz', 'safetensors'):
        path = tmp_path / f'case.{suffix}'
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(CaseError, match=r'pickles are refused|truncated or damaged'):
            load_case(path)
    (tmp_path / 'case.pt').write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CaseError, match=r'case\.pt: expected a file with the suffix \.npz or \.safetensors'):
        load_case(tmp_path / 'case.pt')


def test_a_checkpoint_under_another_name_is_refused(tmp_path):
    torch = pytest.importorskip('torch', reason='writes a checkpoint with torch')
    torch.save({'weight': torch.ones(2)}, tmp_path / 'case.npz')  # a zip archive too, with a pickle in it
    with pytest.raises(CaseError, match='is not an array'):
        load_case(tmp_path / 'case.npz')


@pytest.mark.parametrize('suffix', ['npz', 'safetensors'])
@pytest.mark.parametrize('keep', [0.0, 0.02, 0.5, 0.99])
def test_truncated(tmp_path, suffix, keep):
    path = tmp_path / f'case.{suffix}'
    save_case(path, CASE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(CaseError, match=rf'case\.{suffix}: .*truncated'):
        load_case(path)


def test_damaged(tmp_path):
    path = tmp_path / 'case.npz'
    save_case(path, CASE)
    data = bytearray(path.read_bytes())
    start = data.index(b'state_dict/weight.npy') + 60
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(CaseError, match='truncated or damaged'):
        load_case(path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(CaseError, match='no such file'):
        load_case(tmp_path / 'none.npz')
    (tmp_path / 'folder.npz').mkdir()
    with pytest.raises(CaseError, match='is a directory, expected a file'):
        load_case(tmp_path / 'folder.npz')


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(CaseError, match='expected a file with the suffix'):
        save_case(tmp_path / 'case.pkl', CASE)
    with pytest.raises(CaseError, match='arguments must be a flat JSON table'):
        save_case(tmp_path / 'case.npz', dataclasses.replace(CASE, arguments={'act': print}))
