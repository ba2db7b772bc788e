"""Checkpoints and run folders."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training import checkpoint, loop, run_folder
from tests.training.toy import SETTINGS, Dynamic, Linear, Regression, leaves


def test_a_checkpoint_returns_the_same_bits(tmp_path):
    state = loop.initial_state(Dynamic(), Regression(), SETTINGS)
    state = state.replace(step=jnp.int32(12), other={'a': {'half': jnp.arange(3, dtype=jnp.bfloat16)}})
    checkpoint.save(tmp_path / 'state', state)
    restored = checkpoint.restore(tmp_path / 'state', jax.eval_shape(lambda: state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(leaves(state), leaves(restored), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_that_is_not_there_or_not_this_one(tmp_path):
    state = loop.initial_state(Linear(), Regression(), SETTINGS)
    with pytest.raises(FileNotFoundError, match=r'there is no checkpoint at .*nowhere'):
        checkpoint.restore(tmp_path / 'nowhere', state)
    checkpoint.save(tmp_path / 'state', state)
    with pytest.raises(ValueError, match=r'params'):
        checkpoint.restore(tmp_path / 'state', loop.initial_state(Dynamic(), Regression(), SETTINGS))


def test_the_first_free_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ('runs/digits', 'runs/digits-2', 'runs/digits-3'):
        folder = run_folder.open_for_writing()
        assert folder.as_posix() == expected
        (folder / 'file').touch()
    (tmp_path / 'runs/digits-2/file').unlink()
    assert run_folder.open_for_writing().as_posix() == 'runs/digits-2'


def test_a_folder_in_use_is_refused_unless_overwritten(tmp_path):
    (tmp_path / 'notes.txt').write_text('keep me')
    (tmp_path / run_folder.RESULTS).write_text('{}')
    (tmp_path / run_folder.CHECKPOINTS / 'dynamic').mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r'is not empty; name another one, or pass --overwrite'):
        run_folder.open_for_writing(tmp_path)
    assert run_folder.open_for_writing(tmp_path, overwrite=True) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(FileExistsError, match=r'run-dir must be a folder, .* is a file'):
        run_folder.open_for_writing(tmp_path / 'file')
    with pytest.raises(OSError, match='file'):
        run_folder.open_for_writing(tmp_path / 'file' / 'below')


def test_results_are_complete_or_absent(tmp_path):
    with pytest.raises(ValueError, match='JSON'):
        run_folder.write_results(tmp_path, {'loss': float('nan')})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r'holds no finished run: there is no results\.json in it'):
        run_folder.read_results(tmp_path)
    run_folder.write_results(tmp_path, {'loss': 0.5})
    assert run_folder.read_results(tmp_path) == {'loss': 0.5}
    (tmp_path / run_folder.RESULTS).write_text(json.dumps({'loss': 0.5})[:-3])
    with pytest.raises(ValueError, match=r'results\.json is not valid JSON'):
        run_folder.read_results(tmp_path)
