"""Progress of a run: a bar on a terminal, a line for each epoch elsewhere."""

import time
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from flax_dynconv.training.monitoring.observer import Watcher
from flax_dynconv.training.monitoring.speed import Speed

_REFRESH = 2.0  # seconds over which the speed that is shown was measured


class ProgressBar(Watcher):
    """Shows epoch, loss of the last step, score of the last test, images per second and the expected end of the run.

    Args:
        score: the figure of a test that is shown, a fraction: `task.score`.
        networks: how many networks the run trains; those to come are expected to take the time of the present one.
        console: a `rich` console (default: standard error).
        clock: gives seconds since the epoch, for tests.
    """

    def __init__(self, score, networks=1, console=None, clock=time.time):
        self._score, self._networks, self._clock = score, networks, clock
        self._console = Console(stderr=True) if console is None else console
        self._bar, self._line, self._begun = None, None, 0

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        """A new bar for the network."""
        self._finish_line()
        self._role, self._steps, self._per_epoch = role, steps, steps_per_epoch
        self._begun += 1
        self._first = None
        self._speed, self._shown = Speed(batch_size, self._clock), None
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(*_columns(), console=self._console, expand=True)
                self._bar.start()
            epoch = self._epoch(step)
            self._line = self._bar.add_task(
                f'{role:7}', total=steps, completed=step, epoch=epoch, loss='-', test='-', speed='-', end=''
            )

    def stepped(self, step, figures):
        """Move the bar."""
        if self._bar is None:
            return
        now = self._clock()
        if self._first is None:
            self._first = (now, step)
        self._speed.stepped()
        if self._shown is None or self._speed.seconds >= _REFRESH:
            self._shown = self._speed.lap()
        self._bar.update(
            self._line,
            completed=step + 1,
            epoch=self._epoch(step),
            loss=f'{figures["loss"]:.3f}',
            speed='-' if self._shown is None else f'{self._shown:.0f}',
            end=self._end(now, step),
        )

    def epoch_ended(self, record):
        """Show the score, or print the line of the epoch."""
        test = f'{100 * record["test"][self._score]:.2f} %'
        if self._bar is not None:
            self._speed.restart()
            self._bar.update(self._line, test=test)
            return
        epochs = self._steps // self._per_epoch
        self._print(
            f'{self._role} epoch {record["epoch"]}/{epochs}: loss {record["train"]["loss"]:.3f}, '
            f'test {self._score} {test}, {record["images_per_second"]:.0f} images/s'
        )

    def said(self, message):
        """Print the message, above the bar if there is one."""
        self._print(message)

    def closed(self):
        """Leave the bar as it is."""
        if self._bar is not None:
            self._finish_line()
            self._bar.stop()
            self._bar = None

    def _finish_line(self):
        if self._bar is not None and self._line is not None:
            self._bar.update(self._line, end='')
            self._line = None

    def _print(self, text):
        # Neither markup nor colours: names of files and of layers hold brackets and numbers.
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _epoch(self, step):
        epochs = self._steps // self._per_epoch
        return f'{min(step // self._per_epoch + 1, epochs)}/{epochs}'

    def _end(self, now, step):
        """When the last network will be trained, by the time that steps took since the start, tests included."""
        since, first = self._first
        if step == first:
            return ''
        left = self._steps - step - 1 + max(self._networks - self._begun, 0) * self._steps
        return f', ends {clock_time(now + left * (now - since) / (step - first), now)}'


def clock_time(end, now):
    """Local time of `end`: with the day of the week if that is not today, only the date if it is a week away.

    Both are in seconds since the epoch.

    >>> len(clock_time(3600.0, 3600.0)), len(clock_time(3 * 86400.0, 0.0)), len(clock_time(9 * 86400.0, 0.0))
    (5, 9, 6)
    """
    end, now = datetime.fromtimestamp(end), datetime.fromtimestamp(now)
    days = (end.date() - now.date()).days
    return end.strftime('%H:%M' if days == 0 else '%a %H:%M' if days < 7 else '%b %d')


def _columns():
    figures = (
        'epoch {task.fields[epoch]}, loss {task.fields[loss]}, test {task.fields[test]}, '
        '{task.fields[speed]} images/s{task.fields[end]}'
    )
    return TextColumn('{task.description}'), BarColumn(bar_width=None), TextColumn(figures)
