"""The picture of a run on videos: frames seen, true and predicted, where pixels come from, and learning curves."""

import jax
import numpy as np

from flax_dynconv.training import panels
from flax_dynconv.training.video.motion import displacement

VIDEOS, PREDICTION = 2, {'dynamic': 'predicted', 'static': 'baseline'}
# Where a frame is darker it does not matter from where it is.
BRIGHT = 0.15


def draw(path, task, trained):
    """Write a PNG: for two test videos the frames and each network's, arrows of the filters; and learning curves."""
    batch = panels.first_examples(task, VIDEOS)
    frames, taps = {}, None
    for role, run in trained.items():
        filtering = role == 'dynamic' and getattr(run.model, 'filtering', True)
        output = _predict(run, task.inputs(batch), filtering)
        frames[role], taps = output if filtering else (output, taps)
    seen, truth = task.inputs(batch)[0], task.truth(batch)
    rows = 1 + len(frames) + (taps is not None)
    columns = seen.shape[1] + truth.shape[1]
    height = 1.15 * rows
    figure = panels.new_figure(max(8, 1.05 * columns), len(seen) * height + 3.4, task, trained)
    parts = figure.subfigures(len(seen) + 1, 1, height_ratios=[height] * len(seen) + [3.4], squeeze=False)[:, 0]
    for i, part in enumerate(parts[:-1]):
        axes = part.subplots(rows, columns, squeeze=False)
        of_video = {role: np.asarray(predicted[i], np.float32) for role, predicted in frames.items()}
        _video(axes, seen[i], truth[i], of_video)
        if taps is not None:
            size = trained['dynamic'].model.filter_size
            _arrows(axes[-1, seen.shape[1] :], of_video['dynamic'], displacement(np.asarray(taps[i]), size))
    panels.learning_curves(parts[-1], trained, task.score)
    figure.savefig(path, dpi=110)


def _predict(run, inputs, with_filters):
    options = {'with_filters': True} if with_filters else {}
    return jax.jit(lambda variables, inputs: run.model.apply(variables, *inputs, train=False, **options))(
        run.variables, inputs
    )


def _video(axes, seen, truth, predicted):
    """A row of the frames as they are, and below those of each network, from where it predicts."""
    for axis in axes.ravel():
        axis.set_axis_off()
    first = len(seen)
    for time, frame in enumerate((*seen, *truth)):
        name = f'seen {time + 1}' if time < first else f'true {time + 1 - first}'
        panels.show(axes[0, time], frame, name)
    for row, (role, frames) in enumerate(predicted.items(), start=1):
        for time, frame in enumerate(frames):
            panels.show(axes[row, first + time], frame, f'{PREDICTION[role]} {time + 1}')


def _arrows(axes, frames, moved):
    """On each predicted frame, dimmed, arrows from where its bright pixels come to where they are."""
    for axis, frame, (down, right) in zip(axes, frames, np.moveaxis(moved, -1, 1), strict=True):
        panels.show(axis, 0.4 * frame, 'filters')
        bright = np.zeros(frame.shape[:2], bool)
        apart = max(2, len(frame) // 16)
        bright[::apart, ::apart] = frame[::apart, ::apart].max(axis=-1) > BRIGHT
        y, x = np.nonzero(bright)
        # The arrow ends where the pixel is now.
        axis.quiver(
            x - right[y, x], y - down[y, x], right[y, x], down[y, x],
            angles='xy', scale_units='xy', scale=1, color='#ffb000', width=0.012,
        )  # fmt: skip
