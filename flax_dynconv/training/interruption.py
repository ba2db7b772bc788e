"""Being asked to end: signals are noted, and the run stops where it can save what it has."""

import signal
import threading


class Interrupted(Exception):
    """Training ended because a signal asked for it; `signal` is its name, `step` the number of steps made.

    `exit_code` is what a shell expects of a process that the signal ended: 143 for SIGTERM, 130 for SIGINT.

    >>> raise Interrupted('SIGTERM', 12)
    Traceback (most recent call last):
    flax_dynconv.training.interruption.Interrupted: ended by SIGTERM after step 12; go on with --resume
    """

    def __init__(self, signal_name, step):
        super().__init__(f'ended by {signal_name} after step {step}; go on with --resume')
        self.signal, self.step = signal_name, step
        # Another name is that of a signal to another process of the same run: the cluster's, which sends SIGTERM.
        self.exit_code = 128 + getattr(signal, signal_name, signal.SIGTERM)


class Interruption:
    """Within the context the first SIGTERM or SIGINT only sets `requested`, to its name; the second acts as usual.

    On leaving, the handlers are as they were. Python allows handlers in the main thread only: in another one nothing
    happens and `requested` stays None. A signal that the process was started to ignore stays ignored.

    >>> with Interruption() as interruption:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     interruption.requested
    'SIGTERM'
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.requested = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    # None: a handler that is not Python's, as `jax.distributed` has one; it cannot be put back.
                    self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *_):
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number, _):
        if self.requested is None:
            self.requested = signal.Signals(number).name
        else:
            self.__exit__()
            signal.raise_signal(number)
