"""Layers on many devices, and exported with a batch of any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flax_dynconv.layers import ODConv
from tests.catalog import CATALOG, make
from tests.layers.common import init, inputs
from tests.tolerances import assert_close


def mesh(kind):
    return Mesh(np.array(jax.devices()), ('batch',), axis_types=(kind,))


def train_step(layer, params, others, x):
    """The output, updated statistics, and gradients with respect to parameters and input."""

    def loss(params, x):
        y, updated = layer.apply(others | {'params': params}, x, mutable=['batch_stats'])
        return jnp.sum(y**2), (y, updated)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)


def test_a_sharded_batch_is_never_gathered():
    # ODConv has every part that another layer has, and batch statistics.
    layer, x = ODConv(4, (3, 3), num_kernels=2), inputs((8, 4, 4, 4))
    variables = init(layer, x)
    params = variables.pop('params')
    whole = NamedSharding(mesh(AxisType.Auto), PartitionSpec())
    split = NamedSharding(mesh(AxisType.Auto), PartitionSpec('batch'))
    step = jax.jit(functools.partial(train_step, layer), in_shardings=(whole, whole, split))
    compiled = step.lower(params, variables, x).compile()
    text = compiled.as_text()
    assert 'all-gather' not in text and 'all-to-all' not in text and 'collective-permute' not in text
    assert 'all-reduce' in text
    (_, in_x), (y, _) = compiled(*jax.device_put((params, variables), whole), jax.device_put(x, split))
    (_, expected_in_x), (expected, _) = jax.jit(functools.partial(train_step, layer))(params, variables, x)
    assert_close(y, expected)
    assert_close(in_x, expected_in_x)


@pytest.mark.parametrize('name', CATALOG)
def test_explicit_axes_keep_the_batch_sharded(name):
    layer = make(name)
    explicit = mesh(AxisType.Explicit)
    with jax.set_mesh(explicit):
        x = jax.device_put(inputs((8, 4, 4, 6)), NamedSharding(explicit, PartitionSpec('batch')))
        variables = jax.device_put(init(layer, inputs((8, 4, 4, 6))), NamedSharding(explicit, PartitionSpec()))
        params = variables.pop('params')
        # Explicit axes are part of the types: tracing forward and backward checks them.
        step = jax.eval_shape(functools.partial(train_step, layer), params, variables, x)
    (in_params, in_x), (y, _) = step
    assert y.sharding.spec[0] == 'batch'
    assert in_x.sharding.spec[0] == 'batch'
    assert all(set(leaf.sharding.spec) <= {None} for leaf in jax.tree.leaves(in_params))


@pytest.mark.parametrize('name', CATALOG)
def test_exports_with_a_symbolic_batch(name):
    layer = make(name)
    variables = init(layer)
    (b,) = jax.export.symbolic_shape('b')
    x = jax.ShapeDtypeStruct((b, *inputs().shape[1:]), jnp.float32)
    exported = jax.export.export(jax.jit(layer.apply))(variables, x)
    (out,) = exported.out_avals
    assert out.shape[0] == b
    if name == 'ODConv':
        expected = jax.jit(layer.apply)(variables, inputs())
        for size in (1, 3):
            assert_close(exported.call(variables, inputs()[:size]), expected[:size])
