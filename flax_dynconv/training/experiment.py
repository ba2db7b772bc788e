"""A whole run: a dynamic network and its static twin trained alike, compared, drawn and saved; and its reloading."""

import contextlib
import dataclasses
import statistics
import time

import jax

from flax_dynconv.models import MODELS, count, create_model, static_twin
from flax_dynconv.training import checkpoint, loop, report, run_folder, steps
from flax_dynconv.training.extras import require
from flax_dynconv.training.settings import Settings
from flax_dynconv.training.task import Trained
from flax_dynconv.training.tasks import create_task


def prepare(settings):
    """The task of a run; raises here and now what would stop the run: an unknown name, a missing optional package."""
    require('matplotlib', 'draws the picture')
    task = create_task(settings.task)
    for name in (settings.model, *networks(settings.model).values()):
        build(name, task, settings)
    task.steps_per_epoch(settings.batch_size)
    return task


def run(settings, folder, observer=None):
    """Train `settings.model` and its static twin, write `folder`, return what `results.json` holds.

    `folder` comes from `run_folder.open_for_writing`. `observer(role, steps)` returns a context manager that gives
    `(on_step, on_epoch)` for `loop.fit`. A static model is trained alone. Raises what `prepare` does, and
    `loop.Diverged`: then there are no results, but the checkpoints of networks that were trained before.
    """
    task = prepare(settings)
    started = time.perf_counter()
    results = {
        'task': settings.task,
        'score': task.score,
        'seed': settings.seed,
        'settings': dataclasses.asdict(settings),
    }
    trained, steps_in_all = {}, settings.epochs * task.steps_per_epoch(settings.batch_size)
    for role, name in networks(settings.model).items():
        model = build(name, task, settings)
        watching = contextlib.nullcontext((None, None)) if observer is None else observer(role, steps_in_all)
        with watching as (on_step, on_epoch):
            state, history, compile_seconds = loop.fit(model, task, settings, on_step, on_epoch)
        checkpoint.save(folder / run_folder.CHECKPOINTS / role, state)
        trained[role] = Trained(name, model, state.variables, tuple(history))
        cost = count(model, *task.inputs(task.example()))
        results[role] = {
            'model': name,
            **{f'test_{figure}': value for figure, value in history[-1]['test'].items()},
            'parameters': cost.parameters,
            'multiply_adds': cost.multiply_adds,
            'seconds_per_epoch': statistics.median(record['seconds'] for record in history),
            'compile_seconds': compile_seconds,
            'history': history,
        }
    task.picture(folder / run_folder.PICTURE, trained, settings.batch_size)
    results |= {
        'seconds': time.perf_counter() - started,
        'devices': [str(device) for device in jax.devices()],
        'versions': report.versions(),
    }
    run_folder.write_results(folder, results)
    return results


def evaluate(folder):
    """Reload each network of a finished run and test it again: {role: {'recorded': ..., 'reloaded': ...}}.

    Both are the task's summaries; they are equal to the last bit on the machine and versions that trained. Raises
    FileNotFoundError or ValueError for a folder without a usable run.
    """
    results = run_folder.read_results(folder)
    try:
        settings = Settings(**results['settings'])
        recorded = {
            role: (results[role]['model'], results[role]['history'][-1]['test']) for role in report.roles(results)
        }
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f'{folder}/{run_folder.RESULTS} was not written by a training run: {error!r}') from error
    if not recorded:
        raise ValueError(f'{folder}/{run_folder.RESULTS} was not written by a training run: it names no network')
    task = create_task(settings.task)
    figures = {}
    for role, (name, summary) in recorded.items():
        model = build(name, task, settings)
        template = jax.eval_shape(lambda model=model: loop.initial_state(model, task, settings))
        state = checkpoint.restore(folder / run_folder.CHECKPOINTS / role, template)
        again = loop.evaluate(task, steps.eval_step(model, task), state.variables, settings.batch_size)
        figures[role] = {'model': name, 'recorded': summary, 'reloaded': again}
    return figures


def networks(name):
    """Role and registry name of each network to train: the dynamic one and its static twin, or a static one alone.

    >>> networks('odconv_resnet8_4x')
    {'dynamic': 'odconv_resnet8_4x', 'static': 'resnet8'}
    """
    twin = static_twin(name) if name in MODELS else name
    return {'static': name} if twin == name else {'dynamic': name, 'static': twin}


def build(name, task, settings):
    """The network called `name` for `task`, at the width of `settings`."""
    return create_model(name, num_classes=task.num_outputs, width=settings.width)
