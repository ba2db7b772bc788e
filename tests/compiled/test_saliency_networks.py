"""A training step of a small HDFNet on eight devices: no array is gathered, the results are the same."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.models import SALIENCY_NETWORKS
from tests.compiled.programs import collectives
from tests.models.tiny import quick
from tests.tolerances import assert_close

B, SIZE = 16, (12, 8)


def step(model):
    """(loss, new statistics) and gradient, of params, statistics, images, depths and masks."""

    def loss(params, stats, image, depth, mask):
        variables = {'params': params, 'batch_stats': stats}
        logits, new = model.apply(variables, image, depth, train=True, mutable=['batch_stats'])
        return (jax.nn.softplus(logits) - mask * logits).mean(), new

    return quick(jax.value_and_grad(loss, has_aux=True))


def arguments(model):
    rng = np.random.default_rng(0)
    image, depth, mask = (rng.standard_normal((B, *SIZE, n)).astype(np.float32) for n in (3, 1, 1))

    def draw(path, leaf):
        if path[-1] == 'kernel':
            return rng.normal(0, (2 * leaf.shape[-1] / leaf.size) ** 0.5, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, {'bias': 0.1, 'mean': 0.0}.get(path[-1], 1.0), np.float32)

    variables = jax.eval_shape(model.init, jax.random.key(0), image, depth)
    variables = traverse_util.path_aware_map(draw, variables)
    return variables['params'], variables['batch_stats'], image, depth, (mask > 0).astype(np.float32)


def compile_sharded(model, values):
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    with jax.set_mesh(mesh):
        placed = jax.device_put(values, (whole, whole, split, split, split))
        compiled = step(model).lower(*placed).compile()
        return compiled, compiled(*placed)


def test_a_batch_sharded_step_holds_no_gather():
    """Only sums cross the devices: of gradients and of batch statistics."""
    fields = {'width': 1 / 4, 'dilations': (3,), 'stage_sizes': (1, 1, 1)}
    model = SALIENCY_NETWORKS['hdfnet_vgg8'](**fields)
    values = arguments(model)
    compiled, actual = compile_sharded(model, values)
    assert set(collectives(compiled)) == {'all-reduce'}
    expected = step(model)(*values)
    scale = max(jnp.abs(g).max() for g in jax.tree.leaves(expected[1]))
    jax.tree.map(lambda a, b: assert_close(a / scale, b / scale), actual[1], expected[1])
    jax.tree.map(assert_close, actual[0], expected[0])
