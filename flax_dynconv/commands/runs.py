"""Networks of a run, restored from its folder on whatever devices there are here."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax

from flax_dynconv.training import experiment, report, run_folder
from flax_dynconv.training.checkpoints import Checkpoints
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.settings import Settings


class Run(NamedTuple):
    """A run as its folder tells it: names of its networks by role, of its classes (or ()), and records of the epochs.

    Without a `results.json`, there are no `histories`. `category_ids` are those of the classes in COCO's files, where
    such were the data.
    """

    folder: Path
    settings: Settings
    networks: dict[str, str]
    classes: tuple[str, ...]
    histories: dict[str, list]
    category_ids: tuple[int, ...] = ()


class Restored(NamedTuple):
    """A network of a run: its plan, its state, and what training measured at this state (None: nothing)."""

    plan: Plan
    state: Any
    recorded: dict[str, float] | None


def open_run(folder):
    """The `Run` in a folder: finished, or as far as it is.

    Raises FileNotFoundError for a folder without a run, ValueError for one that no training wrote.
    """
    folder = Path(folder)
    finished = (folder / run_folder.RESULTS).is_file() or not (folder / run_folder.CONFIG).is_file()
    file = run_folder.RESULTS if finished else run_folder.CONFIG
    told = run_folder.read_results(folder) if finished else run_folder.read_config(folder)
    try:
        settings = Settings.from_json(told['settings'])
        if finished:
            networks = {role: told[role]['model'] for role in report.roles(told)}
        else:
            networks = experiment.networks(settings)
            networks = {r: n for r, n in networks.items() if (folder / run_folder.CHECKPOINTS / r).is_dir()}
        histories = {role: told[role]['history'] for role in networks} if finished else {}
        classes, category_ids = (tuple(told.get(name, ())) for name in ('classes', 'category_ids'))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f'{folder}/{file} was not written by a training run: {error!r}') from error
    if not networks:
        what = (
            'was not written by a training run: it names no network' if finished else 'is of a run without checkpoints'
        )
        raise ValueError(f'{folder}/{file} {what}')
    return Run(folder, settings, networks, classes, histories, category_ids)


def restore(run, role, task, settings, which='newest'):
    """The network of `role` as `Restored`, from its checkpoint 'newest', 'best' or of a step.

    `task` and `settings` are those of the run, or changed in what does not change the network. Raises
    FileNotFoundError for a checkpoint that is not there, ValueError for one that is damaged or of another network.
    """
    settings = on_these_devices(settings)
    plan = Plan(experiment.build(run.networks[role], task.num_outputs, settings), task, settings)
    path = run.folder / run_folder.CHECKPOINTS / role
    if not path.is_dir():
        raise FileNotFoundError(f'there is no checkpoint at {path}')
    with Checkpoints(path, settings.saving.keep, task.score) as checkpoints:
        state, progress = checkpoints.restore(which, plan.shapes)
    history = run.histories.get(role, progress['history'])
    epochs = progress['epoch']
    # Within an epoch nothing is measured.
    measured = progress['batch'] == 0 and 0 < epochs <= len(history)
    return Restored(plan, state, history[epochs - 1]['test'] if measured else None)


def on_these_devices(settings):
    """The settings, so that they evaluate on this machine's devices as on those that trained.

    A mesh for another number of devices is left to the preset. Nothing is trained: batches of training are as small
    as the devices allow, and not mixed.
    """
    devices, mesh = jax.device_count(), settings.parallel.mesh
    if mesh is not None and (devices % abs(math.prod(mesh)) if -1 in mesh else math.prod(mesh) != devices):
        mesh = None
    return settings.updated(
        batch_size=max(2, devices),
        evaluation_batch_size=settings.images.test_batch_size,
        accumulate=1,
        mesh=mesh,
        mixup=0.0,
        cutmix=0.0,
    )
