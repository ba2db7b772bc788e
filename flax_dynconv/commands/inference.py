"""Probabilities of classes for single images, on all local devices."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def probabilities(model, variables, inputs, images, batch_size=32):
    """softmax(model(inputs(batch))) for each of `images`, in order: yields arrays (classes,) in float32 or wider.

    Args:
        model, variables: a network in evaluation and its variables.
        inputs: {'image': (N, H, W, C)} -> positional arguments of the network, as `task.inputs`.
        images: arrays (H, W, C) of one shape, read as they are needed.
        batch_size: images computed at a time, rounded up to a multiple of the devices; what is missing in the last
            batch is filled up with copies of its last image.
    """
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), ('batch',))
    split, whole = NamedSharding(mesh, PartitionSpec('batch')), NamedSharding(mesh, PartitionSpec())
    size = -(-batch_size // len(devices)) * len(devices)
    variables = jax.device_put(variables, whole)

    def compute(variables, image):
        logits = model.apply(variables, *inputs({'image': image}), train=False)
        return jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1)

    compute = jax.jit(compute, in_shardings=(whole, split), out_shardings=whole)
    images = iter(images)
    while chunk := list(itertools.islice(images, size)):
        batch = np.stack(chunk + [chunk[-1]] * (size - len(chunk)))
        yield from np.asarray(compute(variables, batch))[: len(chunk)]
