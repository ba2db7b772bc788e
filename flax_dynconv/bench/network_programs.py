"""A network's training step and inference batch in JAX."""

import dataclasses
import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flax_dynconv.bench.jax_programs import compiled, memory
from flax_dynconv.bench.program import INFER, TRAIN, Built, Program


def programs(program: str, model, images, labels):
    """The training step and the inference batch of one network, as programs called `program`."""
    yield Program(program, TRAIN, functools.partial(_training, model, images, labels))
    yield Program(program, INFER, functools.partial(_inference, model, images))


def plain(model):
    """The network with static convolutions as Flax computes them, without `ops.conv_general_dilated`."""
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    ours = {k: v for k, v in fields.items() if 'conv_general_dilated' in getattr(v, 'keywords', ())}
    return model.clone(**{k: functools.partial(v, conv_general_dilated=None) for k, v in ours.items()})


def is_depthwise(model, images) -> bool:
    """Whether any static kernel is depthwise, for which `plain` is another program."""
    kernels = (leaf.shape for leaf in jax.tree.leaves(shapes(model, images)['params']))
    return any(len(shape) == 4 and shape[2] == 1 for shape in kernels)


def shapes(model, images):
    """The shapes of the variables, without computing any."""
    return jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), images)


def drawn(tree):
    """Variables of those shapes: kernels of unit gain, scales and variances one, biases and means zero."""
    generator = np.random.default_rng(0)

    def leaf(path, shape):
        if shape.ndim > 1:
            # A bank's first axis counts kernels; the last one of every kernel is its outputs.
            fan_in = math.prod(shape.shape[1:-1] if shape.ndim == 5 else shape.shape[:-1])
            return jnp.asarray(generator.standard_normal(shape.shape, np.float32) / np.float32(math.sqrt(fan_in)))
        return jnp.full(shape.shape, float(path[-1].key in ('scale', 'var', 'value')), shape.dtype)

    return jax.tree.map_with_path(leaf, tree)


def _variables(model, images):
    variables = drawn(shapes(model, images))
    return variables.pop('params'), variables


def _inference(model, images):
    variables, images = drawn(shapes(model, images)), jnp.asarray(images)
    return compiled(lambda variables, images: model.apply(variables, images, train=False), (variables, images))


def _training(model, images, labels):
    optimizer = optax.sgd(0.01, momentum=0.9)
    params, others = _variables(model, images)

    def step(state, images, labels):
        params, others, moments = state

        def loss(params):
            logits, updates = model.apply(
                {'params': params, **others}, images, train=True, mutable=['batch_stats'], rngs=None
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates

        gradients, updates = jax.grad(loss, has_aux=True)(params)
        changes, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(params, changes), {**others, **updates}, moments

    state, images, labels = (params, others, optimizer.init(params)), jnp.asarray(images), jnp.asarray(labels)
    start = time.perf_counter()
    program = jax.jit(step, donate_argnums=0).lower(state, images, labels).compile()
    facts = {'compile_seconds': time.perf_counter() - start, **memory(program)}
    held = [state]

    def run():
        held[0] = jax.block_until_ready(program(held[0], images, labels))

    return Built(run, facts)
