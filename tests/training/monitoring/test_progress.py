"""What the progress says on a terminal and elsewhere."""

import io
import re
from datetime import datetime

from rich.console import Console

from flax_dynconv.training.monitoring.progress import ProgressBar, clock_time
from tests.training.monitoring import told


class Clock:
    """One second between two looks."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        self.now += 1
        return self.now


def text(width=100, **arguments):
    """(progress, what was written) on a terminal."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    return ProgressBar('accuracy', console=console, **arguments), file


def last_lines(file):
    return re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', file.getvalue()).replace('\r', '\n').rstrip().splitlines()


def test_elsewhere_each_epoch_and_message_is_a_line():
    file = io.StringIO()
    with ProgressBar('accuracy', console=Console(file=file, width=40)) as progress:
        progress.said('resumed from [step 0] of /a/very/long/folder/name')
        told.tell(progress, 'static')
    assert file.getvalue().splitlines() == [
        'resumed from [step 0] of /a/very/long/folder/name',
        'static epoch 1/3: loss 1.500, test accuracy 25.00 %, 1234 images/s',
        'static epoch 2/3: loss 0.750, test accuracy 62.50 %, 1234 images/s',
        'static epoch 3/3: loss 0.500, test accuracy 75.00 %, 1234 images/s',
    ]


def test_a_terminal_has_a_bar_for_each_network_and_messages_above():
    progress, file = text()
    with progress:
        told.tell(progress, 'dynamic')
        progress.said('a message [with brackets]')
        told.tell(progress, 'static', start=6)
    lines = last_lines(file)
    assert 'a message [with brackets]' in lines
    for line, role in zip(lines[-2:], ('dynamic', 'static '), strict=True):
        assert line.startswith(f'{role} ━')
        assert re.search(r'epoch 3/3, loss 0.167, test 75.00 %, \d+ images/s$', line.rstrip())
        assert len(line.rstrip()) <= 100


def test_the_bar_shows_speed_and_the_end_of_the_whole_run():
    clock = Clock()
    progress, file = text(networks=2, clock=clock)
    progress.started('dynamic', 2, told.STEPS, told.PER_EPOCH, told.BATCH)
    for step in (2, 3, 4):
        before = clock.now + 1
        progress.stepped(step, told.figures(step))
    # Each step looks twice: two seconds a step. 7 steps of this network and 12 of the next are to come.
    end = datetime.fromtimestamp(before + 2 * (7 + 12)).strftime('%H:%M')
    progress._bar.refresh()
    shown = last_lines(file)[-1]
    assert f'epoch 2/3, loss 0.400, test -, 4 images/s, ends {end}' in shown
    progress.closed()
    assert 'ends' not in last_lines(file)[-1]


def test_the_bar_fits_80_columns():
    progress, file = text(width=80, networks=2, clock=Clock())
    first = 90 * 125_000
    progress.started('dynamic', first, 100 * 125_000, 125_000, 256)
    progress.epoch_ended(told.record(90))
    for step in range(first, first + 3):
        progress.stepped(step, {'loss': 6.907})
    progress._bar.refresh()
    shown = last_lines(file)[-1].rstrip()
    assert re.fullmatch(r'dynamic ━+ +epoch 91/100, loss 6.907, test 99.17 %, 128 images/s, ends .*', shown)
    assert len(shown) <= 80
    progress.closed()


def test_closing_twice_or_unstarted_is_fine():
    progress, _ = text()
    progress.closed()
    told.tell(progress, stop=2)
    progress.closed()
    progress.closed()


def test_another_day_is_named():
    now = datetime(2024, 2, 28, 23, 50).timestamp()
    assert clock_time(now + 300, now) == '23:55'
    assert clock_time(now + 900, now) == 'Thu 00:05'
    assert clock_time(now + 6 * 86400, now) == 'Tue 23:50'
    assert clock_time(now + 7 * 86400, now) == 'Mar 06'
