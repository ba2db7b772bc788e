"""A training step of a small segmentation network on eight devices: no array is gathered, the results are the same."""

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.models import create_model
from tests.compiled.programs import collectives
from tests.models.tiny import initial, quick
from tests.tolerances import assert_close

B, SIZE, CLASSES = 16, (16, 12), 3


def step(model):
    """(loss, new statistics) and gradient, of params, the other variables, images and labels of their pixels."""

    def loss(params, rest, images, labels):
        pair, new = model.apply({**rest, 'params': params}, images, train=True, mutable=['batch_stats'])
        main, auxiliary = (optax.softmax_cross_entropy_with_integer_labels(y, labels).mean() for y in pair)
        return main + 0.4 * auxiliary, new

    return quick(jax.value_and_grad(loss, has_aux=True))


def arguments(model):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((B, *SIZE, 2)).astype(np.float32)
    return (*initial(model), images, rng.integers(0, CLASSES, (B, *SIZE)))


def compile_sharded(model, values, kind):
    mesh = jax.make_mesh((8,), ('data',), axis_types=(kind,))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    with jax.set_mesh(mesh):
        placed = jax.device_put(values, (whole, whole, split, split))
        compiled = step(model).lower(*placed).compile()
        return compiled, compiled(*placed)


@pytest.mark.parametrize('kind', [AxisType.Auto, AxisType.Explicit], ids=str)
def test_a_batch_sharded_step_holds_no_gather(kind):
    """Only sums cross the devices: of gradients and of batch statistics."""
    model = create_model('dmnet_resnet8', CLASSES, width=1 / 8, filter_sizes=(1, 2), dropout=0.0)
    model = model.clone(backbone=model.backbone.clone(stage_sizes=(1, 1)))
    values = arguments(model)
    compiled, actual = compile_sharded(model, values, kind)
    assert set(collectives(compiled)) == {'all-reduce'}
    jax.tree.map(assert_close, actual, step(model)(*values))
