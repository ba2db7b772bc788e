"""Training states on disk: written by orbax while training goes on, compared with their fingerprints when read."""

import math
from pathlib import Path

from flax_dynconv.training import agreement, checkpoint_arrays, checkpoint_record
from flax_dynconv.training.checkpoint_record import Damaged
from flax_dynconv.training.fingerprint import named_leaves

STATE, PROGRESS = 'state', 'progress'


class SaveFailed(OSError):
    """A checkpoint could not be written; those before it are complete."""


class Checkpoints:
    """The checkpoints in a folder: the newest `keep` of them and the one with the largest score.

    `folder`/STEP/state holds the arrays of a state, by name, and `folder`/STEP/progress/progress.json what else the
    run needs to go on, with the dtype, shape and fingerprint of each array. A folder of that name is complete: until
    it is, it has another name. All methods are called by all processes. `score` names the figure of the best one.

    >>> import tempfile, jax, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
    ...     checkpoints.save(7, {'w': jnp.ones(3)}, {'epoch': 1})
    ...     checkpoints.wait()
    ...     checkpoints.newest({'w': jax.ShapeDtypeStruct((3,), 'float32')}, print)[1]
    {'epoch': 1}
    """

    def __init__(self, folder, keep=2, score=None):
        if keep < 1:
            raise ValueError(f'keep must be >= 1, got {keep}')
        self.folder, self.keep, self.score = Path(folder).absolute(), keep, score
        self._manager, self._saving, self._scores, self._damaged = None, None, {}, set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def steps(self):
        """The steps of the complete checkpoints, from the oldest to the newest."""
        return agreement.from_first(self._listed)

    def save(self, step, state, progress, score=None):
        """Start to write a checkpoint and return as soon as `state` may be changed or donated.

        `progress` is a dict that JSON can hold. Checkpoints of later steps are of a future that the run has left, and
        go. A step that is there with the same arrays gets the new progress and score only. Raises `SaveFailed` if
        this checkpoint, or the one before it, cannot be written, and ValueError for what JSON cannot hold.
        """
        import orbax.checkpoint as ocp

        score = None if score is None or math.isnan(score) else float(score)
        record = checkpoint_record.describe(state, progress, score)
        self.wait()
        self._saving = step
        try:
            manager = self._open()
            self._scores[step] = score
            if step in manager.all_steps():
                if step not in self._damaged and self._same_arrays(step, record['arrays']):
                    agreement.from_first(lambda: checkpoint_record.rewrite(self._place(step) / PROGRESS, record))
                    return
                manager.delete(step)
                self._damaged.discard(step)
            args = {
                STATE: ocp.args.StandardSave(checkpoint_arrays.not_empty(named_leaves(state))),
                PROGRESS: ocp.args.JsonSave(checkpoint_record.signed(record)),
            }
            manager.save(step, args=ocp.args.Composite(**args), force=True)
        except Exception as error:
            raise self._failed(error) from error

    def wait(self):
        """Return when all is on disk; raises `SaveFailed` if it is not."""
        try:
            if self._manager is not None:
                self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error

    def close(self):
        """Wait, and let orbax's threads end."""
        if self._manager is not None:
            try:
                self.wait()
            finally:
                manager, self._manager = self._manager, None
                manager.close()

    def newest(self, template, warn):
        """(state, progress) of the newest checkpoint that can be read, or None if there is no checkpoint at all.

        `template` is a tree of `jax.ShapeDtypeStruct`, whose shardings may be of another mesh and of more or fewer
        devices than those that saved it. `warn(message)` is told of each damaged one that was passed over; it goes
        when the next one is saved. Raises `Damaged` if all are, and ValueError if one is of another network.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                return self._read(step, template)
            except Damaged as error:
                self._damaged.add(step)
                damaged.append(str(error))
                warn(f'the checkpoint {error}; going back to the one before')
        if damaged:
            raise Damaged(f'none of the checkpoints in {self.folder} can be used: ' + '; '.join(damaged))
        return None

    def restore(self, which, template):
        """(state, progress) of one checkpoint: 'newest', 'best' or a step; `template` as for `newest`.

        Raises FileNotFoundError if it is not there, `Damaged` if it cannot be read, ValueError if it is of another
        network.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f'there is no checkpoint in {self.folder}')
        if which == 'newest':
            step = steps[-1]
        elif which == 'best':
            scores = {step: value for step, value in self._read_scores(steps).items() if value is not None}
            if not scores:
                raise FileNotFoundError(f'no checkpoint in {self.folder} has a score ({self.score or "of any name"})')
            step = _best(scores)
        elif which in steps:
            step = which
        else:
            raise FileNotFoundError(f"which must be 'newest', 'best' or one of the steps {steps}, got {which!r}")
        return self._read(step, template)

    def should_preserve(self, checkpoints, *, context):
        """Orbax's question, asked when a new one has been added: which ones stay?"""
        usable = [info.step for info in checkpoints if info.step <= self._saving and info.step not in self._damaged]
        scores = {step: self._scores[step] for step in usable if self._scores.get(step) is not None}
        stay = {*sorted(usable)[-self.keep :], *([_best(scores)] if scores else [])}
        return [info.step in stay for info in checkpoints]

    def _open(self):
        """Orbax's manager; made by the first save, as whoever only reads must not clean up after a run that writes."""
        import orbax.checkpoint as ocp

        if self._manager is None:
            self._scores = self._read_scores(self.steps())
            options = ocp.CheckpointManagerOptions(
                preservation_policy=self, cleanup_tmp_directories=True, save_root_metadata=False
            )
            handlers = {
                STATE: ocp.StandardCheckpointHandler(),
                PROGRESS: ocp.JsonCheckpointHandler(checkpoint_record.FILE),
            }
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
        return self._manager

    def _place(self, step):
        return self.folder / str(step)

    def _listed(self):
        import orbax.checkpoint as ocp

        return sorted(ocp.utils.checkpoint_steps(self.folder)) if self.folder.is_dir() else []

    def _read(self, step, template):
        place = self._place(step)
        record = agreement.from_first(lambda: checkpoint_record.read(place / PROGRESS))
        checkpoint_record.check_same_network(place / PROGRESS, record, template)
        return checkpoint_arrays.read(place / STATE, template, record), record['progress']

    def _read_scores(self, steps):
        def read():
            scores = {}
            for step in steps:
                try:
                    scores[step] = checkpoint_record.read(self._place(step) / PROGRESS)['score']
                except Damaged:
                    scores[step] = None
            return scores

        return agreement.from_first(read)

    def _same_arrays(self, step, arrays):
        try:
            record = agreement.from_first(lambda: checkpoint_record.read(self._place(step) / PROGRESS))
        except Damaged:
            return False
        return record['arrays'] == arrays

    def _failed(self, error):
        return SaveFailed(
            f'the checkpoint of step {self._saving} could not be written to {self.folder} '
            f'({checkpoint_arrays.reason(error)}); those before it are complete: make room and go on with --resume'
        )


def _best(scores):
    """The step with the largest score, the latest of equals."""
    return max(scores, key=lambda step: (scores[step], step))
