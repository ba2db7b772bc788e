"""Who watches a training run: what the loop tells, and how several watch at once."""

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

import jax


class Observer(Protocol):
    """What the loop tells, in this order for each network: started, (stepped..., epoch_ended)...; said at any time.

    One observer sees all networks of a run, one after the other; `closed` comes once, at the end, whatever it is.
    """

    def started(self, role: str, step: int, steps: int, steps_per_epoch: int, batch_size: int) -> None:
        """Training of a network ('dynamic' or 'static') begins, or goes on, with step number `step` of `steps`.

        After a resume, whatever was told before of steps >= `step` of this network is void: it will be told again.
        """

    def stepped(self, step: int, figures: Mapping[str, float]) -> None:
        """Step number `step` (from 0) is done; called for every step.

        `figures`: loss, learning_rate, temperature, gradient_norm, and attention_entropy (nats) where there is any.
        """

    def epoch_ended(self, record: Mapping[str, Any]) -> None:
        """An epoch is trained and tested.

        `record`: epoch (from 1), train and test (the task's summaries), learning_rate, temperature, gradient_norm
        (mean), attention_entropy (mean, or absent), seconds, images_per_second, skipped (updates so far).
        """

    def said(self, message: str) -> None:
        """A message for whoever watches: a resume, a damaged checkpoint, a skipped update."""

    def closed(self) -> None:
        """The run is over, finished or not."""


class Watcher:
    """An observer that does nothing, to be extended; a context manager that closes itself.

    >>> class Losses(Watcher):
    ...     def stepped(self, step, figures):
    ...         print(step, figures['loss'])
    >>> with Losses() as losses:
    ...     losses.stepped(0, {'loss': 2.5})
    0 2.5
    """

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        """See `Observer`."""

    def stepped(self, step, figures):
        """See `Observer`."""

    def epoch_ended(self, record):
        """See `Observer`."""

    def said(self, message):
        """See `Observer`."""

    def closed(self):
        """See `Observer`."""

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.closed()


class Observers(Watcher):
    """Several observers as one; on other processes than the first of a run, none of them hears anything.

    >>> Observers([Watcher(), Watcher()]).said('twice')
    """

    def __init__(self, observers=()):
        self.observers = tuple(observers)

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        """Tell all."""
        for observer in self._awake():
            observer.started(role, step, steps, steps_per_epoch, batch_size)

    def stepped(self, step, figures):
        """Tell all."""
        for observer in self._awake():
            observer.stepped(step, figures)

    def epoch_ended(self, record):
        """Tell all."""
        for observer in self._awake():
            observer.epoch_ended(record)

    def said(self, message):
        """Tell all."""
        for observer in self._awake():
            observer.said(message)

    def closed(self):
        """Tell all, the last first; an error of one keeps none of the others from hearing it."""
        with contextlib.ExitStack() as stack:
            for observer in self._awake():
                stack.callback(observer.closed)

    def _awake(self):
        # Asked each time: several processes may be joined only after the observers were made.
        return self.observers if jax.process_index() == 0 else ()
