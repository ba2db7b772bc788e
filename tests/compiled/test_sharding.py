"""The sharding contract: what batch-sharded operators compile to on eight devices."""

import contextlib

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from flax_dynconv import ops
from flax_dynconv.ops.mixture_conv import _sample_chunks
from tests.compiled.programs import PROGRAMS, B, C, S, collectives
from tests.tolerances import assert_close

MODES = {'plain': AxisType.Auto, 'auto': AxisType.Auto, 'explicit': AxisType.Explicit}


def loss(program):
    return lambda *arrays: (program(*arrays) ** 2).sum()


def compile_both(program, mode, shape=(8,), names=('data',), batch_axes='data'):
    """The compiled forward and gradient programs, and their results with the same arrays on one device."""
    mesh = jax.make_mesh(shape, names, axis_types=(MODES[mode],) * len(names))
    arrays = program.arrays()
    operands = tuple(range(len(arrays)))
    gradient = jax.grad(loss(program), operands)
    expected = jax.jit(lambda *a: (program(*a), gradient(*a)))(*arrays)
    shardings = [NamedSharding(mesh, P() if n in program.shared else P(batch_axes)) for n in program.shapes]
    with jax.set_mesh(mesh) if mode != 'plain' else contextlib.nullcontext():
        arrays = jax.device_put(arrays, shardings)
        # Plain jit is told the shardings; under a mesh in context the arrays carry them.
        options = {'in_shardings': shardings} if mode == 'plain' else {}
        forward = jax.jit(program, **options).lower(*arrays).compile()
        backward = jax.jit(gradient, **options).lower(*arrays).compile()
        actual = forward(*arrays), backward(*arrays)
    return forward, backward, actual, expected


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', PROGRAMS)
def test_batch_sharded_operators_hold_no_gather(name, mode):
    program = PROGRAMS[name]
    forward, backward, actual, expected = compile_both(program, mode)
    assert collectives(forward) == {}
    # One all-reduce per bank (XLA may split or combine it): nothing for operands that are all sharded.
    allowed = {'all-reduce'} if program.shared else set()
    assert set(collectives(backward)) == allowed
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', ['mixture_loop', 'mixture_blocks'])
def test_gradients_in_chunks_of_samples_hold_no_gather(name, mode, monkeypatch):
    monkeypatch.setattr(_sample_chunks, 'SAMPLES', 1)
    _, backward, actual, expected = compile_both(PROGRAMS[name], mode)
    assert set(collectives(backward)) == {'all-reduce'}
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize('mode', MODES)
def test_batch_over_two_mesh_axes(mode):
    program = PROGRAMS['mixture_all_scales']
    forward, backward, actual, expected = compile_both(program, mode, (4, 2), ('data', 'model'), ('data', 'model'))
    assert collectives(forward) == {}
    assert set(collectives(backward)) == {'all-reduce'}
    jax.tree.map(assert_close, actual, expected)


def test_the_counter_sees_a_gather():
    """The check can fail: the grouped form, which `None` never chooses, does gather the batch."""
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    x, kernel = jnp.ones((B, *S, C)), jnp.ones((B, 3, 3, C, C))
    sharding = NamedSharding(mesh, P('data'))
    grouped = jax.jit(
        lambda x, k: ops.per_sample_conv(x, k, implementation='grouped'), in_shardings=(sharding, sharding)
    )
    assert 'all-gather' in collectives(grouped.lower(x, kernel).compile())


def test_the_form_that_gathers_under_jit_does_not_under_explicit_axes():
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.ones((B, *S, C)), P('data'))
        kernel = jax.device_put(jnp.ones((B, 3, 3, C, C)), P('data'))
        f = jax.jit(lambda x, k: ops.per_sample_conv(x, k, implementation='grouped'))
        assert collectives(f.lower(x, kernel).compile()) == {}


@pytest.mark.parametrize('mode', MODES)
def test_batch_over_one_of_two_mesh_axes(mode):
    """The other axis holds whole copies: gradients of sharded operands need no sum over it."""
    program = PROGRAMS['mixture_all_scales']
    forward, backward, actual, expected = compile_both(program, mode, (4, 2), ('data', 'model'), 'data')
    assert collectives(forward) == {}
    assert set(collectives(backward)) == {'all-reduce'}
    if mode == 'explicit':
        assert collectives(backward) == {'all-reduce': 1}
    jax.tree.map(assert_close, actual, expected)


def test_explicit_axes_that_do_not_shard_the_batch():
    """A bank sharded over its output channels is gathered; the result is the same."""
    program = PROGRAMS['mixture_all_scales']
    arrays = program.arrays()
    with jax.set_mesh(jax.make_mesh((8,), ('model',), axis_types=(AxisType.Explicit,))):
        spec = {'kernels': P(None, None, None, None, 'model')}
        placed = [jax.device_put(a, spec.get(n, P())) for n, a in zip(program.shapes, arrays, strict=True)]
        actual = jax.jit(program)(*placed)
    assert_close(actual, program(*arrays))


def test_the_definition_runs_under_explicit_axes():
    program = PROGRAMS['mixture']
    arrays = program.arrays()
    with jax.set_mesh(jax.make_mesh((8,), ('data',), axis_types=(AxisType.Explicit,))):
        x, kernels, weights = arrays
        x, weights = jax.device_put((x, weights), P('data'))
        y = jax.jit(lambda *a: ops.mixture_conv(*a, implementation='reference'))(x, kernels, weights)
    assert_close(y, program(*arrays))


def test_eager_calls_inside_a_mesh_take_arrays_from_outside_it():
    program = PROGRAMS['mixture']
    arrays = program.arrays()
    expected = program(*arrays)
    with jax.set_mesh(jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))):
        assert_close(program(*arrays), expected)


@pytest.mark.parametrize('name', ['per_sample', 'mixture_all_scales'])
def test_vmapped_single_samples_hold_no_gather(name):
    """A batch of one is a static convolution; under vmap that must not become a grouped one."""
    program = PROGRAMS[name]
    arrays = program.arrays()
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    shardings = [NamedSharding(mesh, P() if n in program.shared else P('data')) for n in program.shapes]
    axes = [None if n in program.shared else 0 for n in program.shapes]

    def single(*sample):
        whole = (a if n in program.shared else a[None] for n, a in zip(program.shapes, sample, strict=True))
        return program(*whole)[0]

    vmapped = jax.vmap(single, axes)
    gradient = jax.grad(lambda *a: (vmapped(*a) ** 2).sum(), tuple(range(len(arrays))))
    forward = jax.jit(vmapped, in_shardings=shardings).lower(*arrays).compile()
    backward = jax.jit(gradient, in_shardings=shardings).lower(*arrays).compile()
    assert collectives(forward) == {}
    assert set(collectives(backward)) <= {'all-reduce'}
    assert_close(forward(*arrays), program(*arrays))
    expected = jax.jit(jax.grad(loss(program), tuple(range(len(arrays)))))(*arrays)
    jax.tree.map(assert_close, backward(*arrays), expected)


@pytest.mark.parametrize('name', ['mixture_all_scales', 'mixture_strided', 'mixture_blocks'])
def test_inside_a_users_shard_map_the_bank_gradient_is_summed(name):
    program = PROGRAMS[name]
    arrays = program.arrays()
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    specs = tuple(P() if n in program.shared else P('data') for n in program.shapes)
    mapped = jax.shard_map(program, mesh=mesh, in_specs=specs, out_specs=P('data'))
    operands = tuple(range(len(arrays)))
    actual = jax.jit(jax.grad(lambda *a: (mapped(*a) ** 2).sum(), operands))(*arrays)
    expected = jax.jit(jax.grad(loss(program), operands))(*arrays)
    jax.tree.map(assert_close, actual, expected)


def test_a_sharded_bank_is_gathered_once_and_per_sample_kernels_never():
    """fsdp: the bank is split over the mesh; only it travels, not what is mixed from it."""
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    x, bank, weights = PROGRAMS['mixture'].arrays()
    with jax.set_mesh(mesh):
        x, weights = jax.device_put((x, weights), P('data'))
        bank = jax.device_put(bank, P(None, None, None, 'data'))
        compiled = jax.jit(ops.mixture_conv).lower(x, bank, weights).compile()
        assert collectives(compiled) == {'all-gather': 1}
        gathered = [line for line in compiled.as_text().splitlines() if ' all-gather(' in line]
        assert f'f32[4,3,3,{C},{C}]' in gathered[0]
