"""Two processes decide alike when one of them alone fails, and write as one."""

import json
import os
import socket
import subprocess
import sys

import pytest

from flax_dynconv.training import agreement, run_folder
from flax_dynconv.training.interruption import Interrupted
from flax_dynconv.training.run_folder import InUse

HOST = """
import json, sys
from pathlib import Path
import jax, numpy as np
folder, address, process = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 2)
jax.distributed.initialize(address, 2, process)
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec
from flax_dynconv.training import agreement, run_folder
from flax_dynconv.training.checkpoints import Checkpoints

def refused(message):
    raise FileExistsError(message)

said = {'first': agreement.from_first(lambda: process), 'one has': agreement.first_not_none('b' if process else None)}
said['none has'] = agreement.first_not_none(None)
said['all'] = agreement.of_all({process: 'x' * process})
try:
    agreement.from_first(lambda: refused('by the first') if process == 0 else None)
except FileExistsError as error:
    said['refused'] = str(error)
mesh = jax.make_mesh((4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
def tree(step):
    values = np.arange(8, dtype=np.float32) + step
    split, whole = NamedSharding(mesh, PartitionSpec('data')), NamedSharding(mesh, PartitionSpec())
    return {
        'split': jax.make_array_from_callback((8,), split, lambda i: values[i]),
        'whole': jax.make_array_from_callback((8,), whole, lambda i: values[i]),
    }
shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), tree(0))
with run_folder.opened(folder / 'run') as run, jax.set_mesh(mesh):
    run_folder.write_config(run, {'process': process})
    with Checkpoints(run / 'checkpoints', keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, tree(step), {'step': step}, score=-step)
        checkpoints.save(3, tree(3), {'step': 'again'})
        checkpoints.wait()
        said['steps'] = checkpoints.steps()
        read = ocp.StandardCheckpointHandler.restore
        def failing(self, directory, *args, **kwargs):
            if process == 1 and '/3/' in str(directory):
                raise OSError('this host cannot read it')
            return read(self, directory, *args, **kwargs)
        ocp.StandardCheckpointHandler.restore = failing
        warnings = []
        state, progress = checkpoints.newest(shapes, warnings.append)
        said['warnings'], said['progress'] = warnings, progress
        parts = (state['whole'].addressable_shards[0], state['split'].addressable_shards[0])
        said['values'] = [float(np.asarray(part.data)[0]) for part in parts]
        checkpoints.save(4, state, {'step': 4})
    said['left'] = checkpoints.steps()
print(json.dumps(said))
"""


def test_in_one_process_nothing_is_exchanged():
    assert agreement.from_first(lambda: 3) == 3
    assert agreement.first_not_none(None) is None
    with pytest.raises(KeyError, match='own'):
        agreement.from_first(lambda: {}['own'])


def test_an_exception_that_cannot_travel_does_as_text():
    class Local(Exception):
        pass

    for error in (Local('no class of a module'), Interrupted('SIGTERM', 3)):  # Two arguments, made from one text.
        portable = agreement._portable(error)
        assert isinstance(portable, RuntimeError) and str(portable) == f'{type(error).__name__}: {error}'
    refused = InUse('by another')
    assert agreement._portable(refused) is refused


def test_two_processes_take_the_same_decisions(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{free.getsockname()[1]}'
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
    command = [sys.executable, '-c', HOST, tmp_path, address]
    running = [
        subprocess.Popen(
            [*command, str(process)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for process in range(2)
    ]
    try:
        ended = [process.communicate(timeout=200) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], [errors[-3000:] for _, errors in ended]
    said = [json.loads(output.splitlines()[-1]) for output, _ in ended]
    values = [each.pop('values') for each in said]
    assert values == [[2.0, 2.0], [2.0, 6.0]]
    assert said[0] == said[1]
    (warning,) = said[0].pop('warnings')
    assert '/3 is damaged (OSError: this host cannot read it); going back to the one before' in warning
    assert said[0] == {
        'first': 0,
        'one has': 'b',
        'none has': None,
        'all': [{'0': ''}, {'1': 'x'}],
        'refused': 'by the first',
        'steps': [1, 2, 3],
        'progress': {'step': 2},
        'left': [1, 2, 4],
    }
    assert run_folder.read_config(tmp_path / 'run') == {'process': 0}
