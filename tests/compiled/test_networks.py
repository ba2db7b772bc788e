"""Training steps of small networks: sharded over the batch no array is gathered; exported, the batch may be any."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv.layers import ODConv
from tests.compiled.programs import B, collectives
from tests.models.tiny import initial, quick, tiny
from tests.tolerances import assert_close

# One of each method and architecture; of CondConv's networks the first has a dynamic classifier too.
NAMES = (
    'odconv_resnet18_4x',
    'condconv_mobilenetv2_100_8x',
    'condconv_efficientnet_b0_4e',
    'dynet_shufflenetv2_100',
    'dyconv_mobilenetv3_small_4x',
)
MODES = {'auto': AxisType.Auto, 'explicit': AxisType.Explicit}


def step(model):
    """(loss, new statistics) and gradient, of params, the other variables, images and classes."""

    def loss(params, rest, images, classes):
        logits, new = model.apply({**rest, 'params': params}, images, train=True, mutable=['batch_stats'])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, classes)), new

    return quick(jax.value_and_grad(loss, has_aux=True))


def batch(size):
    images = np.random.default_rng(2).standard_normal((size, 16, 16, 2)).astype(np.float32)
    return images, np.arange(size, dtype=np.int32) % 3


@functools.cache
def on_one_device(name):
    """The model, its arguments (params, rest, images, classes) and what its step gives for them."""
    model = tiny(name)
    arguments = (*initial(model), *batch(B))
    return model, arguments, step(model)(*arguments)


def compile_sharded(model, arguments, mode='auto'):
    """The compiled step of the batch over eight devices, and its results."""
    mesh = jax.make_mesh((8,), ('data',), axis_types=(MODES[mode],))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P('data'))
    with jax.set_mesh(mesh):
        arguments = jax.device_put(arguments, (whole, whole, split, split))
        compiled = step(model).lower(*arguments).compile()
        return compiled, compiled(*arguments)


@pytest.mark.parametrize(('name', 'mode'), [*((name, 'auto') for name in NAMES), *((n, 'explicit') for n in NAMES[:2])])
def test_a_batch_sharded_step_holds_no_gather(name, mode):
    """Only sums cross the devices, of gradients and of batch statistics; the results are those of one device."""
    model, arguments, expected = on_one_device(name)
    compiled, actual = compile_sharded(model, arguments, mode)
    assert set(collectives(compiled)) == {'all-reduce'}
    jax.tree.map(assert_close, actual, expected)


def test_a_gather_in_a_network_is_seen():
    """The check can fail: the grouped form gathers the batch."""
    model = tiny('odconv_resnet18_4x', conv=functools.partial(ODConv, num_kernels=2, implementation='grouped'))
    compiled, _ = compile_sharded(model, (*initial(model), *batch(B)))
    assert 'all-gather' in collectives(compiled)


def test_a_step_is_exported_for_any_batch():
    model, (params, rest, *_), _ = on_one_device('condconv_mobilenetv2_100_8x')
    (b,) = export.symbolic_shape('b')
    images, classes = (jax.ShapeDtypeStruct((b, *a.shape[1:]), a.dtype) for a in batch(1))
    exported = export.export(step(model))(params, rest, images, classes)
    for size in (2, 5):
        arguments = (params, rest, *batch(size))
        jax.tree.map(assert_close, quick(exported.call)(*arguments), step(model)(*arguments))
