"""The curves of a run as a PNG: seven figures over the epochs, for each network."""

import time
from pathlib import Path

from flax_dynconv.training.extras import require
from flax_dynconv.training.monitoring import json_lines
from flax_dynconv.training.monitoring.observer import Watcher

CURVES = 'curves.png'
COLOURS = {'dynamic': '#c1440e', 'static': '#2b6c99'}
_PANELS = (
    ('learning_rate', 'Learning rate (end of epoch)', 'learning rate'),
    ('temperature', 'Attention temperature (end of epoch)', 'temperature'),
    ('attention_entropy', 'Attention entropy (mean of epoch)', 'entropy (nats)'),
    ('gradient_norm', 'Gradient norm (mean of epoch)', 'norm'),
    ('images_per_second', 'Speed of training', 'images per second'),
)


class Curves(Watcher):
    """Draws the curves after epochs, though not more often than every `seconds`, and at the end of the run.

    What a run had done before it was resumed is read from its log.

    Args:
        path: the PNG.
        score: the figure of a test, a fraction, whose error is drawn: `task.score`.
        log: the file that `JsonLines` writes.
    """

    def __init__(self, path, score, log, seconds=60.0):
        require('matplotlib', 'draws the curves')
        self._path, self._score, self._log, self._seconds = Path(path), score, log, seconds
        self._histories, self._drawn, self._stale = {}, None, False

    def started(self, role, step, steps, steps_per_epoch, batch_size):
        """Take the epochs that are behind, of this network and of those before, from the log."""
        self._role = role
        histories = {}
        for line in json_lines.read(self._log):
            if line['kind'] == 'epoch' and (line['role'] != role or line['step'] < step):
                histories.setdefault(line['role'], {})[line['epoch']] = line
        self._histories = {**histories, role: histories.get(role, {})}

    def epoch_ended(self, record):
        """Draw, if it is time."""
        self._histories[self._role][record['epoch']] = record
        self._stale = True
        if self._drawn is None or time.monotonic() - self._drawn >= self._seconds:
            self._draw()

    def closed(self):
        """Draw what was not drawn yet."""
        if self._stale:
            self._draw()

    def _draw(self):
        histories = {role: [epochs[e] for e in sorted(epochs)] for role, epochs in self._histories.items()}
        draw(self._path, histories, self._score)
        self._drawn, self._stale = time.monotonic(), False


def draw(path, histories, score):
    """Write a PNG of `histories`, {role: records of its epochs}; figures that no record has get no panel.

    Raises ImportError without matplotlib.
    """
    require('matplotlib', 'draws the curves')
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    histories = {role: records for role, records in histories.items() if records}
    panels = [panel for panel in _PANELS if any(panel[0] in r for records in histories.values() for r in records)]
    figure = Figure(figsize=(16, 7.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4).ravel()
    draw_results(axes[0], axes[1], histories, score)
    for axis, (name, title, label) in zip(axes[2:], panels, strict=False):
        for role, records in histories.items():
            points = [(record['epoch'], float(record[name])) for record in records if name in record]
            if points:
                _line(axis, *zip(*points, strict=True), role)
        axis.set(title=title, ylabel=label, ylim=(0, None))
        axis.legend(fontsize=8)
    for axis in axes[2 + len(panels) :]:
        axis.set_axis_off()
    for axis in axes[: 2 + len(panels)]:
        over_epochs(axis)
    path = Path(path)
    temporary = path.with_name(f'.{path.name}')
    figure.savefig(temporary, dpi=110, format='png')
    temporary.replace(path)


def over_epochs(axis):
    """What all axes over epochs look like."""
    axis.set(xlabel='epoch')
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(color='#dddddd', linewidth=0.6)
    axis.set_axisbelow(True)


def draw_results(loss, error, histories, score):
    """Loss, and 100 % - `score` (of an accuracy: the error), of training and test onto two axes of matplotlib.

    A score that training does not measure is drawn of tests alone.
    """
    for role, records in histories.items():
        epochs = [record['epoch'] for record in records]
        for split, style in (('train', ':'), ('test', '-')):
            _line(loss, epochs, [float(r[split]['loss']) for r in records], f'{role}, {split}', style)
            measured = [r for r in records if score in r[split]]
            if measured:
                values = [100 * (1 - float(r[split][score])) for r in measured]
                _line(error, [r['epoch'] for r in measured], values, f'{role}, {split}', style)
    loss.set(title='Loss', ylabel='loss', yscale='log')
    loss.legend(fontsize=8)
    # Linear below 1 %, so that an error of zero has a place.
    error.set_yscale('symlog', linthresh=1, linscale=0.7)
    what = 'error' if score == 'accuracy' else f'100 % - {score}'
    title = f'Error (100 % - {score})' if score == 'accuracy' else what
    error.set(title=title, ylabel=f'{what} (%)', ylim=(0, 100))
    error.set_yticks([0, 0.5, 1, 2, 5, 10, 20, 50, 100], ['0', '0.5', '1', '2', '5', '10', '20', '50', '100'])
    error.minorticks_off()


def _line(axis, epochs, values, label, style='-'):
    # A single epoch would be an invisible line.
    marker = 'o' if len(epochs) == 1 else None
    role = label.split(',')[0]
    # The first network's lines are broad, so that they are seen below those of the second where they agree.
    width = 2.6 if role == 'dynamic' else 1.4
    axis.plot(epochs, values, color=COLOURS.get(role), linestyle=style, linewidth=width, marker=marker, label=label)
