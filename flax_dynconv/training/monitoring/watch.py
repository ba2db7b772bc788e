"""The observers that a run has, by its settings."""

from flax_dynconv.training.monitoring import curves, json_lines, progress, tensorboard
from flax_dynconv.training.monitoring.observer import Observers


def watch(settings, folder, score, networks=1, console=None):
    """Progress, `log.jsonl`, `curves.png` and, if `settings.saving.tensorboard`, `tensorboard/` in the run's folder.

    `score` is the task's, `networks` the number of networks that the run trains, `console` a `rich` console (default:
    standard error). Raises ImportError without matplotlib, or without tensorboardX where it is wanted.
    """
    every, log = settings.saving.log_every, folder / json_lines.LOG
    observers = [json_lines.JsonLines(log, every), curves.Curves(folder / curves.CURVES, score, log)]
    if settings.saving.tensorboard:
        observers.append(tensorboard.TensorBoard(folder / tensorboard.FOLDER, every))
    return Observers([*observers, progress.ProgressBar(score, networks, console)])
