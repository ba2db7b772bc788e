"""All that settings say about a network's training, worked out: optimiser, schedules, placement, compiled steps."""

import functools

import jax
import numpy as np

from flax_dynconv.models import param_labels
from flax_dynconv.training import schedules, steps
from flax_dynconv.training.optimizers import make_optimizer
from flax_dynconv.training.sharding import Placement
from flax_dynconv.training.state import TrainState


class Plan:
    """How `model` is trained on `task` with `settings`; nothing is computed on a device before `initial`.

    Attributes:
      model, task, settings: as given.
      steps_per_epoch, steps: in an epoch, in all.
      rate, temperature: schedules of the step.
      placement: of the state and the batches; by default the settings' preset on all devices.
      shapes: the state as `jax.ShapeDtypeStruct`s, with shardings: what a checkpoint is restored into.
      train, test: the compiled steps, (state, batch) -> (state, metrics, figures) and (variables, batch) -> metrics.

    Raises ValueError for batches that cannot be divided over the devices.
    """

    def __init__(self, model, task, settings, placement=None):
        self.model, self.task, self.settings = model, task, settings
        optimization, parallel = settings.optimization, settings.parallel
        self.steps_per_epoch = task.steps_per_epoch(settings.images.batch_size)
        self.steps = settings.epochs * self.steps_per_epoch
        inputs = jax.eval_shape(task.inputs, task.example())
        labels = param_labels(model, *inputs)
        self._optimizer, self.rate = make_optimizer(settings, self.steps_per_epoch, labels)
        annealing = round(settings.annealed_epochs * self.steps_per_epoch)
        self.temperature = schedules.temperature(optimization.temperature, annealing)
        shapes = jax.eval_shape(self._fresh)
        if placement is None:
            placement = Placement.preset(parallel.sharding, parallel.mesh, labels, shapes.params)
        placement.check('batch_size', settings.images.batch_size, optimization.accumulate)
        self.placement, self.shapes = placement, placement.templates(shapes)
        train = steps.train_step(
            model,
            task,
            self._optimizer,
            self.temperature,
            rate=self.rate,
            placement=placement,
            accumulate=optimization.accumulate,
            ema_decay=optimization.ema,
            batch_statistics=parallel.batch_statistics,
            skip_nonfinite=settings.saving.nonfinite == 'skip',
        )
        self.train, self.test = steps.jitted(train, steps.eval_step(model, task), placement, shapes)

    @functools.cached_property
    def test_batch_size(self):
        """Of the settings, rounded up to a multiple of the devices: what is filled in is masked."""
        devices = self.placement.mesh.size
        return -(-self.settings.images.test_batch_size // devices) * devices

    def initial(self):
        """The state before the first step, a function of the seed alone, born where the placement wants it."""
        # Random numbers compile slowly on a CPU, and an initialisation runs once: it is not worth optimising.
        options = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.shapes)
        return jax.jit(self._fresh, out_shardings=shardings, compiler_options=options)()

    def batches(self, split, epoch=0, start=0):
        """One pass of the task over `split`, this process's rows of it as arrays over all devices."""
        training = split == 'train'
        size = self.settings.images.batch_size if training else self.test_batch_size
        rows = self.placement.rows(size)
        seed = self.settings.seed
        for batch in self.task.batches(split, size, seed=seed, epoch=epoch, start=start, rows=rows):
            yield self.placement.batch(batch, size)

    def shape_of_batch(self, size):
        """A batch of `size` as `jax.ShapeDtypeStruct`s, with the sharding of batches."""
        split = self.placement.split
        return {
            name: jax.ShapeDtypeStruct((size, *np.shape(array)[1:]), np.asarray(array).dtype, sharding=split)
            for name, array in self.task.example().items()
        }

    def compiled(self, batch=None, test_batch=None):
        """Both steps compiled ahead of time, for these batches (default: the shapes of the task's example)."""
        batch = self.shape_of_batch(self.settings.images.batch_size) if batch is None else batch
        test_batch = self.shape_of_batch(self.test_batch_size) if test_batch is None else test_batch
        with jax.set_mesh(self.placement.mesh):
            train = self.train.lower(self.shapes, batch).compile()
            return train, self.test.lower(self.shapes.evaluated, test_batch).compile()

    def _fresh(self):
        init_key, state_key = jax.random.split(jax.random.key(self.settings.seed))
        variables = self.task.init(self.model, init_key)
        return TrainState.create(variables, self._optimizer, state_key, ema=self.settings.optimization.ema is not None)
