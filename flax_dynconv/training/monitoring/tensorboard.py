"""The figures of a run as TensorBoard events."""

from pathlib import Path

from flax_dynconv.training.extras import require
from flax_dynconv.training.monitoring.observer import Watcher

FOLDER = 'tensorboard'


class TensorBoard(Watcher):
    """Writes the figures of every `log_every`-th step and of every epoch; one folder for each network.

    The global step is the number of the step (from 0), that of an epoch its last. Tags: `step/<figure>`,
    `train/<figure>`, `test/<figure>`, `epoch/<figure>`; messages are texts. After a resume at step s, TensorBoard
    hides what was written of steps >= s. Raises ImportError without tensorboardX.
    """

    def __init__(self, folder, log_every=50):
        self._folder, self._log_every, self._writer = Path(folder), log_every, None
        self._library = require('tensorboardX', 'writes TensorBoard events')

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        """Open the events of the network."""
        self.closed()
        # With a step of 0, what an earlier run left in the folder is hidden. Names hold seconds and the suffix: a quick
        # restart must not write over a file.
        self._writer = self._library.SummaryWriter(
            str(self._folder / role), purge_step=step, filename_suffix=f'.step{step:09}'
        )
        self._per_epoch, self._step = steps_per_epoch, step

    def stepped(self, step, figures):
        """Write the figures if it is time for them."""
        self._step = step
        if (step + 1) % self._log_every == 0:
            self._scalars('step', figures)

    def epoch_ended(self, record):
        """Write the figures of the record."""
        self._step = record['epoch'] * self._per_epoch - 1
        for name in ('train', 'test'):
            self._scalars(name, record[name])
        self._scalars('epoch', {name: value for name, value in record.items() if name not in ('train', 'test')})
        self._writer.flush()

    def said(self, message):
        """Write the message, unless no network was started yet."""
        if self._writer is not None:
            self._writer.add_text('messages', message, self._step)

    def closed(self):
        """Write what is left, and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _scalars(self, group, figures):
        for name, value in figures.items():
            self._writer.add_scalar(f'{group}/{name}', float(value), self._step)
