"""Images per second, measured between steps."""

import time


class Speed:
    """Counts the steps between two looks; time before the first step (compiling, an evaluation) is left out.

    >>> speed = Speed(batch_size=32, clock=iter([0.0, 1.0, 2.0]).__next__)
    >>> for _ in range(3):
    ...     speed.stepped()
    >>> speed.lap()
    32.0
    """

    def __init__(self, batch_size, clock=time.perf_counter):
        self._batch_size, self._clock = batch_size, clock
        self.restart()

    def restart(self):
        """Measure from the next step on: something else than steps happens now."""
        self._since = self._now = None
        self._steps = 0

    def stepped(self):
        """A step is done."""
        self._now = self._clock()
        if self._since is None:
            self._since = self._now
        else:
            self._steps += 1

    @property
    def seconds(self):
        """Seconds since the last look."""
        return 0.0 if self._since is None else self._now - self._since

    def lap(self):
        """Images per second since the last look; None if there was no step to measure."""
        if not self._steps or self._now <= self._since:
            return None
        rate = self._steps * self._batch_size / (self._now - self._since)
        self._since, self._steps = self._now, 0
        return rate
