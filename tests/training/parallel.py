"""Training steps of small networks on any number of devices, for tests that compare them and read what travels."""

import functools

import jax
import numpy as np
import optax

from flax_dynconv.models import param_labels
from flax_dynconv.training import steps
from flax_dynconv.training.classification import Classification
from flax_dynconv.training.sharding import Placement
from flax_dynconv.training.state import TrainState
from tests.models.tiny import tiny

BATCH = 16
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
# LLVM's optimisation takes the time and leaves the collectives as they are.
QUICK = {'xla_backend_optimization_level': 0}


@functools.cache
def task(size=16, channels=2):
    """Noise of three classes."""
    r = np.random.default_rng(2)
    images = {split: r.standard_normal((32, size, size, channels)).astype(np.float32) for split in ('train', 'test')}
    labels = {split: np.arange(32, dtype=np.int32) % 3 for split in images}
    return Classification('noise', images, labels, num_outputs=3)


def batches(count=2, size=BATCH, of=None):
    """The first training batches, whole."""
    of = task() if of is None else of
    iterator = of.batches('train', size)
    return [next(iterator) for _ in range(count)]


@functools.cache
def model(name):
    """A tiny network; its banks have two kernels."""
    return tiny(name)


@functools.cache
def facts(model, of=None):
    """A function that makes the first state, its shapes and the labels of the parameters."""
    of = task() if of is None else of
    inputs = of.inputs(of.example())

    def fresh():
        return TrainState.create(model.init(jax.random.key(0), *inputs), OPTIMIZER, jax.random.key(1), ema=True)

    return fresh, jax.eval_shape(fresh), param_labels(model, *inputs)


def placement(model, preset, devices=8, of=None, sizes=None, least=64):
    _, shapes, labels = facts(model, of)
    return Placement.preset(
        preset, sizes, labels=labels, params=shapes.params, devices=jax.devices()[:devices], least=least
    )


@functools.cache
def first(model, of):
    """The first state, on the host: random numbers compile slowly, and need not for every placement."""
    return jax.tree.map(np.asarray, jax.jit(facts(model, of)[0], compiler_options=QUICK)())


@functools.cache
def compiled(model, where, of=None, size=BATCH, **options):
    """(compiled training step, function that places the initial state) of a network at a placement."""
    of = task() if of is None else of
    _, shapes, _ = facts(model, of)
    train = steps.train_step(
        model, of, OPTIMIZER, lambda step: 2.0, rate=lambda step: 0.1, placement=where, ema_decay=0.99, **options
    )
    train, _ = steps.jitted(train, steps.eval_step(model, of), where, shapes)
    templates = where.templates(shapes)
    batch = where.batch(batches(1, size, of)[0], size)
    with jax.set_mesh(where.mesh):
        step = train.lower(templates, batch).compile(compiler_options=QUICK)
    return step, lambda: jax.device_put(first(model, of), where.state(shapes))


def run(model, where, count=2, of=None, size=BATCH, **options):
    """The state and the figures after some steps, on the host."""
    step, initial = compiled(model, where, of, size, **options)
    with jax.set_mesh(where.mesh):
        state = initial()
        for batch in batches(count, size, of):
            state, metrics, figures = step(state, where.batch(batch, size))
        return jax.tree.map(np.asarray, (state, metrics, figures))
