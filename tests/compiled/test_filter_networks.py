"""Training steps of networks that generate filters, over eight devices: sums cross, no array is gathered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.models import FRAME_PREDICTORS, SteerableFilter
from tests.compiled.programs import B, collectives
from tests.models.tiny import quick
from tests.tolerances import assert_close

MODES = {'auto': AxisType.Auto, 'explicit': AxisType.Explicit}
r = np.random.default_rng(0)
FRAMES = r.uniform(size=(B, 3, 8, 8, 1)).astype(np.float32)
IMAGES, THETA = FRAMES[:, 0], np.linspace(0, 6, B, dtype=np.float32)
NETWORKS = {
    'steerable': (SteerableFilter(), (IMAGES, THETA)),
    'dfn_moving_mnist': (FRAME_PREDICTORS['dfn_moving_mnist'](width=1 / 16, output_frames=2), (FRAMES[:, :2],)),
    'dfn_highway': (FRAME_PREDICTORS['dfn_highway'](width=1 / 16, output_frames=2), (FRAMES,)),
    'dfn_stereo': (FRAME_PREDICTORS['dfn_stereo'](width=1 / 16), (FRAMES,)),
}


def step(model):
    """Loss and gradients, of the parameters and of what goes in."""

    def loss(params, inputs):
        return jnp.mean(jnp.square(model.apply({'params': params}, *inputs)))

    return quick(jax.value_and_grad(loss, argnums=(0, 1)))


def initial(model, inputs):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)['params']
    return jax.tree.map(lambda s: rng.normal(0, 0.1, s.shape).astype(s.dtype), shapes)


@pytest.mark.parametrize(
    ('name', 'mode'), [*((name, 'auto') for name in NETWORKS), ('steerable', 'explicit'), ('dfn_highway', 'explicit')]
)
def test_a_batch_sharded_step_holds_no_gather(name, mode):
    model, inputs = NETWORKS[name]
    params = initial(model, inputs)
    mesh = jax.make_mesh((8,), ('data',), axis_types=(MODES[mode],))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    with jax.set_mesh(mesh):
        arguments = jax.device_put((params, inputs), (whole, split))
        compiled = step(model).lower(*arguments).compile()
        actual = compiled(*arguments)
    assert set(collectives(compiled)) == {'all-reduce'}
    jax.tree.map(assert_close, actual, step(model)(params, inputs))
