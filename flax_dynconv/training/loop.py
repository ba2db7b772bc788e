"""The training loop: epochs of steps, an evaluation after each, checkpoints on the way, and stops that lose nothing."""

import time
from typing import Any, NamedTuple

import jax

from flax_dynconv.training.distributed import Agreement
from flax_dynconv.training.interruption import Interrupted
from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.progress import Progress, added, joined


class Diverged(ArithmeticError):
    """The loss or the gradient became NaN or infinite."""


class Fit(NamedTuple):
    """What training gives: the last state, the record of each epoch, and the seconds of compilation."""

    state: Any
    history: list
    compile_seconds: float


def fit(model, task, settings, *, placement=None, checkpoints=None, observer=None, interruption=None, role='model'):
    """Train `model` on `task`, from the newest of `checkpoints` if there is one; returns a `Fit`.

    A record holds `epoch` (from 1), `train` and `test` (the task's summaries), `learning_rate` and `temperature` of
    the last step, the means of `gradient_norm` and `attention_entropy`, `seconds` spent on training steps,
    `images_per_second`, and `skipped`, the updates left out so far. `observer` is told of steps and epochs
    (`monitoring.Observer`).

    A checkpoint is saved after each epoch, every `settings.saving.checkpoint_every` steps, and when `interruption`
    says that the process shall end; then `Interrupted` is raised, in every process after the same step.
    Raises `Diverged`, naming step, learning rate, temperature and gradient norm, when a loss or gradient is NaN or
    infinite, unless the settings say to skip such updates.
    """
    plan = Plan(model, task, settings, placement)
    return _Run(plan, checkpoints, Watcher() if observer is None else observer, interruption, role).fit()


def evaluate(plan, variables, split='test', step=None, stop=None):
    """The task's summary of one pass over `split`; every example counts once, on however many devices and hosts.

    `stop()` is asked before every batch and may raise.
    """
    step, totals = plan.test if step is None else step, None
    measured = getattr(plan.task, 'measured', None)
    with jax.set_mesh(plan.placement.mesh):
        for batch in plan.batches(split):
            if stop is not None:
                stop()
            values = step(variables, batch)
            if measured is None:
                totals = added(totals, values)
            else:
                totals = joined(totals, measured(jax.device_get(values)))
    return plan.task.summary(totals)


class _Run:
    """One call of `fit`."""

    def __init__(self, plan, checkpoints, observer, interruption, role):
        self.plan, self.checkpoints, self.observer = plan, checkpoints, observer
        self.interruption, self.role = interruption, role
        self.agreement = Agreement()
        self.state, self.progress, self.saved = None, Progress(), None

    def fit(self):
        plan = self.plan
        start = time.perf_counter()
        values = self._restore()
        if values is not None and values['epoch'] >= plan.settings.epochs:
            self._started(plan.steps)
            return Fit(self.state, values['history'], 0.0)
        train, test = plan.compiled(*(self._first(split) for split in ('train', 'test')))
        if values is not None:
            _, metrics, _ = train.out_tree.unflatten(range(train.out_tree.num_leaves))
            self.progress = Progress.from_json(values, metrics)
            self.saved = self._step()
            self.observer.said(f'{self.role}: resumed after step {self._step()} of {plan.steps}')
        compile_seconds = time.perf_counter() - start
        self._started(self._step())
        self._stop_if_asked()
        while self.progress.epoch < plan.settings.epochs:
            self._train(train)
            summary = evaluate(plan, self.state.evaluated, step=test, stop=self._stop_if_asked)
            record = self._record(summary)
            self.progress = self.progress.next_epoch(record)
            # Told before it is saved: killed in between, it is told twice, and the logs know the second time.
            self.observer.epoch_ended(record)
            self._save(score=summary[plan.task.score])
        if self.checkpoints is not None:
            self.checkpoints.wait()
        return Fit(self.state, self.progress.history, compile_seconds)

    def _started(self, step):
        plan = self.plan
        self.observer.started(self.role, step, plan.steps, plan.steps_per_epoch, plan.settings.images.batch_size)

    def _first(self, split):
        """The shape of a batch of `split`, from the data themselves: they may have more entries than the example."""
        batches = self.plan.batches(split)
        shape = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), next(batches))
        batches.close()
        return shape

    def _restore(self):
        """Set the state: that of the newest checkpoint, whose progress is returned, or a fresh one."""
        found = None
        if self.checkpoints is not None:
            found = self.checkpoints.newest(self.plan.shapes, self.observer.said)
        self.state, values = (self.plan.initial(), None) if found is None else found
        return values

    def _step(self):
        """Steps that have been made."""
        return self.progress.epoch * self.plan.steps_per_epoch + self.progress.batch

    def _train(self, train):
        """The rest of the epoch."""
        plan, progress, pending = self.plan, self.progress, None
        every = plan.settings.saving.checkpoint_every
        begun, before = time.perf_counter(), progress.seconds
        with jax.set_mesh(plan.placement.mesh):
            for batch in plan.batches('train', progress.epoch, progress.batch):
                self.state, *outcome = train(self.state, batch)
                # Looked at a step late, so that the host prepares the next batch while the devices compute this one.
                if pending is not None:
                    self._settle(*pending)
                pending = (self._step(), *outcome)
                progress.batch += 1
                progress.seconds = before + time.perf_counter() - begun
                wanted = every is not None and progress.batch % every == 0 and progress.batch < plan.steps_per_epoch
                asked = self._asked(self.agreement.ask_ahead)
                if wanted or asked:
                    self._settle(*pending)  # Never save a state whose loss nobody has looked at.
                    pending = None
                    self._save()
                    if asked:
                        self._stop(asked)
        if pending is not None:
            self._settle(*pending)
        progress.seconds = before + time.perf_counter() - begun

    def _settle(self, step, metrics, figures):
        figures = {name: float(value) for name, value in jax.device_get(figures).items()}
        if figures.pop('finite'):
            self.progress.add(jax.device_get(metrics), figures)
        elif self.plan.settings.saving.nonfinite == 'stop':
            raise Diverged(
                f'the loss is {figures["loss"]} at step {step} (epoch {step // self.plan.steps_per_epoch + 1}, '
                f'learning rate {figures["learning_rate"]:.4g}, temperature {figures["temperature"]:.4g}, gradient '
                f'norm {figures["gradient_norm"]:.4g}); try a lower learning rate, --clip-norm or --nonfinite skip'
            )
        else:
            self.observer.said(
                f'{self.role}: step {step} is skipped, its loss is {figures["loss"]}, its gradient norm '
                f'{figures["gradient_norm"]}'
            )
        self.observer.stepped(step, figures)

    def _record(self, summary):
        plan, progress = self.plan, self.progress
        if not progress.counted:
            raise Diverged(f'every update of epoch {progress.epoch + 1} was skipped: no loss or gradient was a number')
        means = {name: float(total) / progress.counted for name, total in progress.figures.items()}
        last = progress.epoch * plan.steps_per_epoch + plan.steps_per_epoch - 1
        images = plan.steps_per_epoch * plan.settings.images.batch_size
        record = {
            'epoch': progress.epoch + 1,
            'train': plan.task.summary(progress.metrics),
            'test': summary,
            'learning_rate': float(plan.rate(last - int(self.state.skipped))),
            'temperature': float(plan.temperature(last)),
            'gradient_norm': means['gradient_norm'],
            'seconds': progress.seconds,
            'images_per_second': images / progress.seconds,
            'skipped': int(self.state.skipped),
        }
        entropy = means.get('attention_entropy')
        return record if entropy is None else record | {'attention_entropy': entropy}

    def _save(self, score=None):
        if self.checkpoints is not None:
            self.checkpoints.save(self._step(), self.state, self.progress.to_json(), score=score)
            self.saved = self._step()

    def _asked(self, ask):
        """The signal that asks this process, or another one, to end; None for none."""
        own = None if self.interruption is None else self.interruption.requested
        return (own or 'a signal to another process') if ask(own is not None) else None

    def _stop_if_asked(self):
        """Outside of the steps of training."""
        if asked := self._asked(self.agreement.ask):
            if self.saved != self._step() and self._step():
                self._save()
            self._stop(asked)

    def _stop(self, asked):
        if self.checkpoints is not None:
            self.checkpoints.wait()
        raise Interrupted(asked, self._step())
