"""The training loop: epochs of steps, an evaluation after each, and a stop when the loss is no number."""

import math
import time

import jax
import numpy as np
import optax

from flax_dynconv.training import schedules, steps
from flax_dynconv.training.state import TrainState


class Diverged(ArithmeticError):
    """The loss became NaN or infinite."""


def make_optimizer(settings, steps_per_epoch):
    """SGD with momentum, weight decay on all parameters and a cosine learning rate; returns it with the schedule."""
    rate = schedules.learning_rate(
        settings.learning_rate,
        settings.epochs * steps_per_epoch,
        warmup_steps=round(settings.warmup_epochs * steps_per_epoch),
    )
    decay = optax.add_decayed_weights(settings.weight_decay)
    return optax.chain(decay, optax.sgd(rate, momentum=settings.momentum)), rate


def initial_state(model, task, settings):
    """The state before the first step, a function of `settings.seed` alone; pure, to be compiled or only shaped."""
    optimizer, _ = make_optimizer(settings, task.steps_per_epoch(settings.batch_size))
    init_key, state_key = jax.random.split(jax.random.key(settings.seed))
    return TrainState.create(task.init(model, init_key), optimizer, state_key)


def fit(model, task, settings, on_step=None, on_epoch=None):
    """Train `model` on `task`; returns the last state, a list of records (one per epoch) and the compile seconds.

    A record holds `epoch`, `train` and `test` (the task's summaries), `learning_rate` and `temperature` of the last
    step, and `seconds` spent on the steps of training. `on_step(step, loss)` and `on_epoch(record)` are called as
    they pass. Raises `Diverged`, naming step, learning rate and temperature, when a loss is NaN or infinite.
    """
    per_epoch = task.steps_per_epoch(settings.batch_size)
    optimizer, rate = make_optimizer(settings, per_epoch)
    temperature = schedules.temperature(settings.temperature, round(settings.annealed_epochs * per_epoch))
    start = time.perf_counter()
    # Random numbers compile slowly on a CPU, and an initialisation runs once: it is not worth optimising.
    options = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
    state = jax.jit(lambda: initial_state(model, task, settings), compiler_options=options)()
    train, test = _compiled(model, task, settings, optimizer, temperature, state)
    compile_seconds = time.perf_counter() - start

    def settle(totals, step, metrics):
        metrics = dict(metrics)
        loss = float(metrics.pop('step_loss'))
        if not math.isfinite(loss):
            raise Diverged(
                f'the loss is {loss} at step {step} (epoch {step // per_epoch + 1}, learning rate '
                f'{float(rate(step)):.4g}, temperature {float(temperature(step)):.4g}); try a lower learning rate'
            )
        if on_step is not None:
            on_step(step, loss)
        return _added(totals, metrics)

    history, done = [], 0
    for epoch in range(settings.epochs):
        start, totals, pending = time.perf_counter(), None, None
        for batch in task.batches('train', settings.batch_size, settings.seed, epoch):
            state, metrics = train(state, batch)
            # Looked at a step late, so that the host prepares the next batch while the device computes this one.
            if pending is not None:
                totals = settle(totals, *pending)
            pending, done = (done, metrics), done + 1
        totals = settle(totals, *pending)
        seconds = time.perf_counter() - start
        history.append(
            {
                'epoch': epoch + 1,
                'train': task.summary(totals),
                'test': evaluate(task, test, state.variables, settings.batch_size),
                'learning_rate': float(rate(done - 1)),
                'temperature': float(temperature(done - 1)),
                'seconds': seconds,
            }
        )
        if on_epoch is not None:
            on_epoch(history[-1])
    return state, history, compile_seconds


def evaluate(task, step, variables, batch_size, split='test'):
    """The task's summary of one pass over `split` with an evaluation step; every example counts once."""
    totals = None
    for batch in task.batches(split, batch_size):
        totals = _added(totals, step(variables, batch))
    return task.summary(totals)


def _compiled(model, task, settings, optimizer, temperature, state):
    """Both steps compiled ahead of time, so that seconds per epoch hold no compilation."""
    batch = next(iter(task.batches('train', settings.batch_size, settings.seed, 0)))
    train = steps.train_step(model, task, optimizer, temperature).lower(state, batch).compile()
    batch = next(iter(task.batches('test', settings.batch_size)))
    return train, steps.eval_step(model, task).lower(state.variables, batch).compile()


def _added(totals, metrics):
    """Sums of two pytrees of metrics, on the host in float64."""
    metrics = jax.tree.map(lambda x: np.asarray(x, np.float64), metrics)
    return metrics if totals is None else jax.tree.map(np.add, totals, metrics)
