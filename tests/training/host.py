"""One process of several: trains a small network in every preset and saves what it has; run by test_processes.py.

    python -m tests.training.host FOLDER COORDINATOR PROCESSES PROCESS DEVICES

Prints, at the end, one line of JSON: what this process saw.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from flax import linen as nn

from flax_dynconv.layers import BatchNorm, DynamicConv, ODConv
from flax_dynconv.models import param_labels
from flax_dynconv.training import distributed, loop
from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.classification import Classification
from flax_dynconv.training.interruption import Interrupted
from flax_dynconv.training.monitoring.observer import Observers, Watcher
from flax_dynconv.training.settings import Parallel, Settings
from flax_dynconv.training.sharding import PRESETS, Placement

SETTINGS = Settings(epochs=2, seed=3).updated(
    batch_size=8, evaluation_batch_size=8, learning_rate=0.05, warmup_epochs=0.0, checkpoint_every=1, ema=0.9
)


class Small(nn.Module):
    """Two dynamic convolutions of different methods, batch norm and dropout."""

    @nn.compact
    def __call__(self, x, train=False):
        x = ODConv(8, (3, 3), num_kernels=4, min_hidden=4, name='first')(x)
        x = nn.relu(BatchNorm(use_running_average=not train)(x))
        x = DynamicConv(8, (3, 3), strides=2, num_kernels=4, name='second')(x)
        x = nn.Dropout(0.2, deterministic=not train)(x.mean((1, 2)))
        return nn.Dense(3)(x)


def noise():
    """17 test images: the last batch is filled up."""
    r = np.random.default_rng(0)
    sizes = {'train': 24, 'test': 17}
    images = {split: r.standard_normal((size, 6, 6, 2)).astype(np.float32) for split, size in sizes.items()}
    labels = {split: (np.arange(size) % 3).astype(np.int32) for split, size in sizes.items()}
    return Classification('noise', images, labels, num_outputs=3)


def placement(preset, devices=None):
    """Every array that can be is divided, however small."""
    task = noise()
    inputs = task.inputs(task.example())
    labels = param_labels(Small(), *inputs)
    params = jax.eval_shape(Small().init, jax.random.key(0), *inputs)['params']
    return Placement.preset(preset, labels=labels, params=params, devices=devices, least=1)


def whole(state, where):
    """The state on this host, gathered."""
    state = jax.jit(lambda tree: tree, out_shardings=where.whole)(state)
    return jax.tree.map(np.asarray, state)


def trained(preset, devices=None, **options):
    """The state after training, and the summaries of the epochs."""
    where = placement(preset, devices)
    state, history, _ = loop.fit(Small(), noise(), SETTINGS, placement=where, **options)
    return whole(state, where), [(record['train'], record['test'], record['gradient_norm']) for record in history]


class Switch:
    """A signal that reaches this process only, after some questions, one a step."""

    def __init__(self, after):
        self.left = after

    @property
    def requested(self):
        self.left -= 1
        return 'SIGTERM' if self.left == 0 else None


class Told(Watcher):
    """How many steps this process was told of."""

    steps = 0

    def stepped(self, step, figures):
        self.steps += 1


def main(folder, coordinator, processes, process, devices):
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_num_cpu_devices', int(devices))
    # The training that is interrupted and goes on has the programs of the one before.
    jax.config.update('jax_compilation_cache_dir', str(Path(folder, 'programs')))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
    parallel = Parallel(coordinator=coordinator, num_processes=int(processes), process_id=int(process))
    assert distributed.initialize(parallel) == (int(processes) > 1)
    folder, said = Path(folder), {'devices': jax.device_count(), 'first': distributed.is_first()}
    for preset in PRESETS:
        told = Told()
        state, summaries = trained(preset, observer=Observers([told]))
        said[preset] = {'summaries': summaries, 'told': told.steps}
        if distributed.is_first():
            np.savez(folder / f'{preset}.npz', *jax.tree.leaves(state))
    if int(processes) == 2:
        said['interrupted'] = interrupted(folder, Switch(4 if int(process) == 1 else -1))
    print(json.dumps(said))


def interrupted(folder, switch):
    """A signal to one process alone: the step after which this one stops. Then it goes on from there."""
    with Checkpoints(folder / 'checkpoints') as checkpoints:
        try:
            trained('fsdp', checkpoints=checkpoints, interruption=switch)
        except Interrupted as end:
            stopped = end.step
        state, _ = trained('fsdp', checkpoints=checkpoints)
    if distributed.is_first():
        np.savez(folder / 'resumed.npz', *jax.tree.leaves(state))
    return stopped


if __name__ == '__main__':
    main(*sys.argv[1:])
