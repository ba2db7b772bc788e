"""A whole run: one network, or a dynamic one and its static twin, trained alike, compared, drawn and saved."""

import json
import statistics
import time

import jax
import numpy as np

from flax_dynconv.models import count
from flax_dynconv.training import agreement, loop, report, run_folder
from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.distributed import is_first
from flax_dynconv.training.extras import require
from flax_dynconv.training.monitoring import json_lines
from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.task import Trained
from flax_dynconv.training.tasks import build, create_task, networks


def prepare(settings):
    """The task of a run; raises here and now what would stop the run: an unknown name, a missing optional package."""
    require('matplotlib', 'draws the picture')
    if settings.saving.tensorboard:
        require('tensorboardX', 'writes TensorBoard events')
    for name in networks(settings).values():
        build(name, 10, settings)  # Before the data are looked at: a misspelt name should not wait for them.
    task = create_task(settings)
    task.steps_per_epoch(settings.images.batch_size)
    return task


def needed_bytes(settings, task):
    """What the checkpoints of a run take on the disk at their most, for each network: kept, best, and in the making."""
    total = 0
    for name in networks(settings).values():
        shapes = Plan(build(name, task.num_outputs, settings), task, settings).shapes
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        total += size * (settings.saving.keep + 2)
    return total


def run(settings, folder, observer=None, interruption=None, task=None):
    """Train the network of `settings` (and its static twin), write `folder`, return what `results.json` holds.

    `folder` comes from `run_folder`; a network of which it has checkpoints goes on from there. `observer` watches
    (`monitoring.Observer`). Raises what `prepare` does, `loop.Diverged`, and `Interrupted` where `interruption` asks
    for it: then there are no results, but checkpoints to go on from.
    """
    task = prepare(settings) if task is None else task
    observer = Watcher() if observer is None else observer
    if hasattr(task, 'on_bad_image') and is_first():  # Elsewhere the task warns: this observer would not.
        _remember_bad_images(task, folder / run_folder.BAD_IMAGES, observer)
    started = time.perf_counter()
    results = {
        'task': task.name,
        'score': task.score,
        'seed': settings.seed,
        'settings': settings.flat(),
        **report.class_names(task),
    }
    trained = {}
    for role, name in networks(settings).items():
        model = build(name, task.num_outputs, settings)
        with Checkpoints(folder / run_folder.CHECKPOINTS / role, settings.saving.keep, task.score) as checkpoints:
            fitted = loop.fit(
                model,
                task,
                settings,
                checkpoints=checkpoints,
                observer=observer,
                interruption=interruption,
                role=role,
            )
        trained[role] = Trained(name, model, _on_host(fitted.state.evaluated), tuple(fitted.history))
        results[role] = _summary(name, model, task, fitted)
    # The others wait here: at their ends they would wait for a minute only (`distributed.initialize`).
    picture = folder / run_folder.PICTURE
    agreement.from_first(lambda: task.picture(picture, trained, settings.images.test_batch_size))
    bad_images = agreement.of_all(dict(getattr(task, 'bad_images', {})))
    results |= {
        'bad_images': {name: reason for each in bad_images for name, reason in each.items()},
        'seconds': time.perf_counter() - started,
        'devices': [str(device) for device in jax.devices()],
        'processes': jax.process_count(),
        'versions': report.versions(),
    }
    run_folder.write_results(folder, json_lines.plain(results))
    return results


def _remember_bad_images(task, file, observer):
    """Let the observer, and the next process of this run, know of images that cannot be read."""
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            name, reason = json.loads(line)
        except ValueError:
            continue  # Half a line: the process was killed.
        task.bad_images.setdefault(name, reason)

    def note(name, reason):
        with file.open('a') as lines:
            lines.write(json.dumps([name, reason]) + '\n')
        observer.said(f'{name} cannot be read and is left out: {reason}')

    task.on_bad_image = note


def _on_host(variables):
    """The arrays of a state, gathered; every process must take part."""
    leaf = jax.tree.leaves(variables)[0]
    whole = jax.sharding.NamedSharding(leaf.sharding.mesh, jax.sharding.PartitionSpec())
    gathered = jax.jit(lambda tree: tree, out_shardings=whole)(variables)
    return jax.tree.map(np.asarray, gathered)


def _summary(name, model, task, fitted):
    cost = count(model, *jax.eval_shape(task.inputs, task.example()))
    last = fitted.history[-1]
    return {
        'model': name,
        **{f'test_{figure}': value for figure, value in last['test'].items()},
        'best': max(record['test'][task.score] for record in fitted.history),
        'parameters': cost.parameters,
        'multiply_adds': cost.multiply_adds,
        'seconds_per_epoch': statistics.median(record['seconds'] for record in fitted.history),
        'compile_seconds': fitted.compile_seconds,
        'history': fitted.history,
    }
