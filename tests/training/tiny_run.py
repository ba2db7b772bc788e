"""`flax-dynconv` with a tiny network, ending itself where the environment says; run by test_survival.py.

    END='step 5 0.01 SIGKILL' python -m tests.training.tiny_run train --model odconv_tiny_2x ...

sends the signal 0.01 seconds after the fifth step. Moments are `compile`, `step`, `save` (a save has returned and goes
on in the background), `evaluation` (its third batch) and `epoch` (its record is told).
"""

import functools
import os
import signal
import sys
import threading
import time

from flax_dynconv import cli
from flax_dynconv.layers import ODConv
from flax_dynconv.models import MODELS, ResNet

# One block and its twin: compilation is what takes time here.
FIELDS = {'stage_sizes': (1,), 'features': 16, 'stem': 'cifar'}
NETWORKS = {
    'tiny': functools.partial(ResNet, **FIELDS),
    'odconv_tiny_2x': functools.partial(ResNet, conv=functools.partial(ODConv, num_kernels=2), **FIELDS),
}
MOMENTS = ('compile', 'step', 'save', 'evaluation', 'epoch')


class End:
    """Counts the moments of a kind, and sends the signal after one of them."""

    def __init__(self, text):
        self.moment, count, delay, name = text.split()
        self.count, self.delay, self.signal = int(count), float(delay), signal.Signals[name]

    def __call__(self, moment):
        if moment == self.moment:
            self.count -= 1
            if self.count == 0:
                threading.Thread(target=self._send, daemon=True).start()

    def _send(self):
        time.sleep(self.delay)
        os.kill(os.getpid(), self.signal)


def watch(end):
    """Let `end` know of the moments of a run."""
    from flax_dynconv.training.checkpoints import Checkpoints
    from flax_dynconv.training.monitoring.observer import Observers
    from flax_dynconv.training.plan import Plan

    def wrapped(owner, name, moment, before=False):
        original = getattr(owner, name)

        @functools.wraps(original)
        def method(*args, **kwargs):
            if before:
                end(moment)
            result = original(*args, **kwargs)
            if not before:
                end(moment)
            return result

        setattr(owner, name, method)

    wrapped(Plan, 'compiled', 'compile', before=True)
    wrapped(Observers, 'stepped', 'step')
    wrapped(Observers, 'epoch_ended', 'epoch')
    wrapped(Checkpoints, 'save', 'save')
    batches = Plan.batches

    def counted(self, split, *args, **kwargs):
        for number, batch in enumerate(batches(self, split, *args, **kwargs)):
            if split == 'test' and number == 2:
                end('evaluation')
            yield batch

    Plan.batches = counted


if __name__ == '__main__':
    MODELS.update(NETWORKS)
    if 'END' in os.environ:
        watch(End(os.environ['END']))
    sys.exit(cli.main())
