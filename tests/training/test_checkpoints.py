"""Checkpoints: the same bits, on any mesh, the right ones kept, damage noticed, and a failed save told."""

import functools
import gc
import json
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flax_dynconv.training.checkpoints import Checkpoints, Damaged
from flax_dynconv.training.state import TrainState

OPTIMIZER = optax.adamw(0.1)


def mesh(*sizes):
    devices = np.array(jax.devices()[: int(np.prod(sizes))]).reshape(sizes)
    return Mesh(devices, ('data', 'fsdp', 'model')[: len(sizes)], axis_types=(AxisType.Auto,) * len(sizes))


def split(leaf, where):
    """Over the last axes that the mesh can divide."""
    names = [name for name in where.axis_names if where.shape[name] > 1]
    axes = [None] * leaf.ndim
    for axis in reversed(range(leaf.ndim)):
        if names and leaf.shape[axis] % where.shape[names[-1]] == 0 and leaf.size:
            axes[axis] = names.pop()
    return NamedSharding(where, PartitionSpec(*axes))


@functools.cache
def host_state():
    r = np.random.default_rng(0)
    variables = {
        'params': {'conv': {'kernel': r.standard_normal((3, 3, 8, 16)).astype(np.float32)}},
        'batch_stats': {'mean': r.standard_normal(16).astype(np.float32)},
        'temperature': {'value': np.float32(30)},
        'other': {'half': np.arange(8, dtype=jnp.bfloat16), 'none': np.zeros((0, 4), np.float32), 'on': np.array(True)},
    }
    return jax.tree.map(np.asarray, TrainState.create(variables, OPTIMIZER, jax.random.key(2**31 + 1)))


def state(where=None, step=0):
    """The same values on every mesh, a function of `step`."""
    where = mesh(1) if where is None else where
    changed = host_state().replace(step=np.int32(step), batch_stats={'mean': host_state().batch_stats['mean'] + step})
    return jax.tree.map(lambda leaf: jax.device_put(leaf, split(leaf, where)), changed)


def template(where=None):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state(where))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def no_warning(message):
    raise AssertionError(message)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A folder with steps 3 and 6; to be copied before it is changed."""
    folder = tmp_path_factory.mktemp('saved') / 'checkpoints'
    with Checkpoints(folder) as checkpoints:
        for step in (3, 6):
            checkpoints.save(step, state(step=step), {'epoch': step})
    return folder


@pytest.mark.parametrize('sizes', [(1,), (4,), (2, 2, 2)])
def test_the_same_bits_come_back_on_another_mesh(sizes, tmp_path):
    where = mesh(2, 4)
    progress = {'epoch': 2, 'history': [{'loss': 0.1 + 0.2}], 'totals': [1e300, -0.0, 2**53 + 1], 'none': None}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state(where, 7), progress)
    other = template(mesh(*sizes))
    with Checkpoints(tmp_path) as checkpoints:
        restored, found = checkpoints.newest(other, no_warning)
    assert_same(restored, state(where, 7))
    assert json.dumps(found) == json.dumps(progress)
    for leaf, wanted in zip(jax.tree.leaves(restored), jax.tree.leaves(other), strict=True):
        assert leaf.sharding == wanted.sharding


def test_a_template_needs_no_sharding(saved):
    shapes = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, host_state()))
    restored, _ = Checkpoints(saved).restore(3, shapes)
    assert_same(restored, state(step=3))


def test_nothing_there(tmp_path):
    for folder in (tmp_path, tmp_path / 'missing'):
        with Checkpoints(folder) as checkpoints:
            assert checkpoints.newest(template(), no_warning) is None
            with pytest.raises(FileNotFoundError, match='there is no checkpoint in'):
                checkpoints.restore('newest', template())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match='keep must be >= 1, got 0'):
        Checkpoints(tmp_path, keep=0)


def test_the_state_may_be_donated_at_once(tmp_path):
    @functools.partial(jax.jit, donate_argnums=0)
    def overwrite(tree):
        return jax.tree.map(lambda a: a * 0 - 1, tree)

    def big(where):
        return {'a': jax.device_put(jnp.arange(2**20, dtype=jnp.float32), NamedSharding(where, PartitionSpec('data')))}

    for where in (mesh(1), mesh(8)):
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), big(where))
        control = big(where)
        overwrite(control)
        assert control['a'].is_deleted()
        with Checkpoints(tmp_path / str(where.size)) as checkpoints:
            for step in range(4):
                tree = big(where)
                checkpoints.save(step, tree, {})
                after = overwrite(tree)
                after['a'].block_until_ready()
                del tree, after
                checkpoints.wait()
                restored, _ = checkpoints.restore(step, shapes)
                np.testing.assert_array_equal(np.asarray(restored['a']), np.arange(2**20, dtype=np.float32))


def test_progress_is_taken_when_save_is_called(tmp_path):
    progress = {'history': [1]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(), progress)
        progress['history'].append(2)
    assert Checkpoints(tmp_path).restore(1, template())[1] == {'history': [1]}


def test_the_newest_and_the_best_are_kept(tmp_path):
    scores = {1: 0.5, 2: 0.9, 3: None, 4: 0.9, 5: 0.1, 6: float('nan'), 7: 0.2}
    left = {1: [1], 2: [1, 2], 3: [2, 3], 4: [3, 4], 5: [4, 5], 6: [4, 5, 6], 7: [4, 6, 7]}
    for step, score in scores.items():
        # Opened again each time: a run that goes on must know the scores of the one before.
        with Checkpoints(tmp_path, keep=2, score='accuracy') as checkpoints:
            checkpoints.save(step, state(step=step), {'step': step}, score=score)
        assert Checkpoints(tmp_path).steps() == left[step]
    checkpoints = Checkpoints(tmp_path)
    for which, step in (('newest', 7), ('best', 4), (6, 6)):
        restored, progress = checkpoints.restore(which, template())
        assert (int(restored.step), progress) == (step, {'step': step})
    with pytest.raises(FileNotFoundError, match=r"'newest', 'best' or one of the steps \[4, 6, 7\], got 5"):
        checkpoints.restore(5, template())


def test_the_best_needs_a_score(saved):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint in .* has a score \(accuracy\)'):
        Checkpoints(saved, score='accuracy').restore('best', template())


def test_a_step_may_be_saved_again(tmp_path):
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        checkpoints.save(4, state(step=4), {'evaluated': False})
        checkpoints.save(4, state(step=4), {'evaluated': True}, score=0.5)
        checkpoints.save(5, state(step=5), {})
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        checkpoints.save(4, state(step=4), {'evaluated': True}, score=0.7)
        assert checkpoints.restore('best', template())[1] == {'evaluated': True}
        # Other arrays: all of it is written again, and what came later belongs to another past.
        checkpoints.save(4, state(step=44), {'other': True})
    assert Checkpoints(tmp_path).steps() == [4]
    restored, progress = Checkpoints(tmp_path).newest(template(), no_warning)
    assert (int(restored.step), progress) == (44, {'other': True})


def test_what_is_no_json_is_an_error_and_changes_nothing(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(), {'a': 1})
        with pytest.raises(TypeError, match='JSON'):
            checkpoints.save(2, state(), {'a': np.float32(1)})
    assert Checkpoints(tmp_path).steps() == [1]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda s: s.replace(params={'conv': {}}),
            r'params/conv/kernel is not in the state and .* more|is not in the state',
        ),
        (lambda s: s.replace(other={**s.other, 'more': s.step}), 'other/more is not in it'),
        (
            lambda s: s.replace(batch_stats={'mean': s.step}),
            r'batch_stats/mean is float32\[16\] in it, int32\[\] in the state',
        ),
    ],
)
def test_another_network_is_said_to_be_one(saved, change, message):
    with pytest.raises(ValueError, match=f'6 is of another network or optimiser: {message}') as error:
        Checkpoints(saved).newest(change(template()), no_warning)
    assert not isinstance(error.value, Damaged)


def flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 16
    file.write_bytes(bytes(content))


DAMAGES = {
    'flipped': flipped,
    'truncated': lambda file: os.truncate(file, file.stat().st_size // 2),
    'emptied': lambda file: os.truncate(file, 0),
    'removed': lambda file: file.unlink(),
}


# Orbax leaves tasks behind where reading fails, and Python complains of them.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_anywhere_is_noticed_or_harmless(damage, saved, tmp_path):
    places = sorted(file.relative_to(saved) for file in (saved / '6').rglob('*') if file.is_file())
    fallen_back = []
    for place in places:
        folder = tmp_path / 'copy'
        shutil.copytree(saved, folder)
        DAMAGES[damage](folder / place)
        warnings = []
        with Checkpoints(folder) as checkpoints:
            restored, progress = checkpoints.newest(template(), warnings.append)
            step = 3 if warnings else 6
            assert_same(restored, state(step=step))
            assert progress == {'epoch': step}
            if warnings:
                fallen_back.append(place)
                (message,) = warnings
                assert message.startswith(f'the checkpoint {folder}/6 is damaged (')
                assert message.endswith('); going back to the one before')
                with pytest.raises(Damaged, match='6 is damaged'):
                    checkpoints.restore('newest', template())
        shutil.rmtree(folder)
    gc.collect()  # Now, and not where the complaints are no longer expected.
    # The arrays and the progress, whatever else orbax can do without.
    for part in ('ocdbt.process_0/d/', 'progress.json', 'manifest.ocdbt'):
        assert any(part in str(place) for place in fallen_back), (part, fallen_back)


def test_bits_that_orbax_reads_without_complaint_are_noticed(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / 'copy')
    record = folder / '6/progress/progress.json'
    intact = (folder / '6/state').rename(tmp_path / 'state')
    shutil.copytree(folder / '3/state', folder / '6/state')
    with pytest.raises(Damaged, match=r'6 is damaged \(the bits of 2 arrays .* the first is (step|batch_stats/mean)\)'):
        Checkpoints(folder).restore(6, template())
    shutil.rmtree(folder / '6/state')
    intact.rename(folder / '6/state')
    record.write_text(record.read_text().replace('"epoch": 6', '"epoch": 5'))
    with pytest.raises(Damaged, match=r'6 is damaged \(progress\.json is not what was saved\)'):
        Checkpoints(folder).restore(6, template())


def test_all_damaged_is_an_error_that_lists_them(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / 'copy')
    for step in (3, 6):
        shutil.rmtree(folder / f'{step}/state')
    warnings = []
    with pytest.raises(Damaged, match=r'none of the checkpoints in .* can be used: .*/6 is damaged .*/3 is damaged'):
        Checkpoints(folder).newest(template(), warnings.append)
    assert len(warnings) == 2


@pytest.mark.parametrize('step', [4, 6, 9])
def test_a_damaged_one_goes_when_the_next_is_saved(step, saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / 'copy')
    flipped(folder / '6/progress/progress.json')
    with Checkpoints(folder) as checkpoints:
        checkpoints.newest(template(), [].append)
        checkpoints.save(step, state(step=step), {'epoch': step})
    assert Checkpoints(folder).steps() == [3, step]
    restored, _ = Checkpoints(folder).newest(template(), no_warning)
    assert int(restored.step) == step


def test_what_an_unfinished_save_left_is_cleaned_up_by_the_next_run_that_writes(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / 'copy')
    left = shutil.copytree(folder / '6', folder / '9.orbax-checkpoint-tmp')
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == [3, 6]
        checkpoints.newest(template(), no_warning)
        assert left.exists()
        checkpoints.save(9, state(step=9), {})
    assert not left.exists()
    assert Checkpoints(folder).steps() == [6, 9]


FULL = """
import resource, sys
import jax.numpy as jnp
from flax_dynconv.training.checkpoints import Checkpoints, SaveFailed
tree = {'a': jnp.arange(2**18, dtype=jnp.float32) ** 0.5}
try:
    with Checkpoints(sys.argv[1], keep=1) as checkpoints:
        checkpoints.save(1, tree, {'epoch': 1})
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, 2**17))
        checkpoints.save(2, tree, {'epoch': 2})
        checkpoints.wait()
except SaveFailed as error:
    print(error)
    sys.exit(3)
"""


def test_a_disk_that_is_full_while_saving_leaves_the_checkpoint_before(tmp_path):
    done = subprocess.run([sys.executable, '-c', FULL, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert f'the checkpoint of step 2 could not be written to {tmp_path} (' in done.stdout
    assert 'File too large' in done.stdout
    assert done.stdout.endswith('those before it are complete: make room and go on with --resume\n')
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        shapes = {'a': jax.ShapeDtypeStruct((2**18,), np.float32)}
        tree, progress = checkpoints.newest(shapes, no_warning)
        assert progress == {'epoch': 1}
        checkpoints.save(2, tree, {'epoch': 2})
    assert Checkpoints(tmp_path).steps() == [2]
