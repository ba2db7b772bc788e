"""Losses and detections of instances on eight devices: only sums of losses travel, results are the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.models.condinst import detect
from flax_dynconv.training.instances.losses import instance_losses
from tests.compiled.programs import collectives
from tests.models.tiny import quick
from tests.tolerances import assert_close
from tests.training.instances import example

B = 8


def on_eight_devices(function, *arrays):
    """The collectives of the compiled program, and its results."""
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        placed = jax.device_put(arrays, NamedSharding(mesh, P('data')))
        compiled = quick(function).lower(*placed).compile()
        return collectives(compiled), compiled(*placed)


@pytest.mark.parametrize('masks, key, chunk', [('dice', 0, 3), ('boxinst', None, None)])
def test_losses_hold_no_gather(masks, key, chunk):
    options = {**example.OPTIONS, 'masks': masks, 'chunk': chunk, 'max_positives': 5}
    options |= {'key': None if key is None else jax.random.key(key)}

    def total(maps, batch):
        losses = instance_losses(maps, batch, **options)
        return sum(losses.values()), losses

    step, arrays = jax.value_and_grad(total, has_aux=True), (example.maps(batch=B), example.batch(batch=B))
    found, actual = on_eight_devices(step, *arrays)
    assert set(found) == {'all-reduce'}
    jax.tree.map(assert_close, actual, quick(step)(*arrays))


def test_detections_hold_no_collective():
    run = functools.partial(
        detect, strides=example.STRIDES, sizes_of_interest=example.SIZES, pre_nms=20, max_detections=10
    )
    arrays = example.maps(batch=B), jnp.full((B, 2), example.SIDE)
    found, actual = on_eight_devices(run, *arrays)
    assert not found
    jax.tree.map(np.testing.assert_array_equal, actual, quick(run)(*arrays))
    assert actual.valid.all()
