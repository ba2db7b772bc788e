"""What is chosen for a TPU, lowered and compiled ahead of time on a machine without one."""

import dataclasses
import functools
import importlib.util
import os
import re
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

from flax_dynconv import ops
from tests.compiled.programs import PROGRAMS


def lowered(function, arrays, platform):
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


def convolutions(text):
    return len(re.findall(r'stablehlo\.convolution', text))


def gradient(program):
    return jax.grad(lambda *a: (program(*a) ** 2).sum(), tuple(range(len(program.shapes))))


def small_outputs():
    """A mixture of many channels and few positions, which CPU does block by block of the bank, and its arrays."""
    shapes = {'x': (8, 7, 7, 256), 'kernels': (4, 3, 3, 256, 256), 'weights': (8, 4)}
    arrays = [jax.ShapeDtypeStruct(shape, 'float32') for shape in shapes.values()]
    assert ops.explain(ops.mixture_conv, *arrays).chosen['cpu'] == 'blocks'
    return ops.mixture_conv, arrays


def test_the_mixture_is_k_static_convolutions_on_tpu_and_none_on_cpu():
    program, arrays = small_outputs()
    tpu, cpu = lowered(program, arrays, 'tpu'), lowered(program, arrays, 'cpu')
    assert convolutions(tpu) == 4 and 'feature_group_count = 1' in tpu
    # Only one platform's form is in the program.
    assert convolutions(cpu) == 0 and 'stablehlo.dot_general' in cpu


def test_the_gradient_follows_the_platform_too():
    program, arrays = small_outputs()
    gradient = jax.grad(lambda *a: (program(*a) ** 2).sum(), (0, 1, 2))
    tpu, cpu = (lowered(gradient, arrays, p) for p in ('tpu', 'cpu'))
    # Forward, input gradient and weight gradient of four static convolutions each; the kernels are never mixed.
    assert convolutions(tpu) >= 8 and 'batch_group_count = 8' not in tpu
    assert convolutions(cpu) == 0


@pytest.mark.parametrize('name', ['mixture_all_scales', 'mixture_per_output', 'mixture_groups'])
def test_no_per_sample_kernels_on_tpu(name):
    """No array with the batch in front of a whole kernel: what makes per-sample forms slow there."""
    program = PROGRAMS[name]
    arrays = program.arrays()
    kernel = 'x'.join(map(str, program.shapes['kernels'][1:]))
    flat = str(int(jnp.prod(jnp.array(program.shapes['kernels'][1:]))))
    text = lowered(gradient(program), arrays, 'tpu')
    assert f'tensor<16x{kernel}x' not in text and f'tensor<16x{flat}x' not in text
    if name != 'mixture_per_output':
        # The check can fail: this form has them.
        mixed = dataclasses.replace(program, function=functools.partial(program.function, implementation='patches'))
        assert f'tensor<16x{flat}x' in lowered(gradient(mixed), arrays, 'cpu')


def test_a_name_means_this_form_on_every_platform():
    arrays = PROGRAMS['mixture'].arrays()
    text = lowered(lambda x, k, w: ops.mixture_conv(x, k, w, implementation='patches'), arrays, 'tpu')
    assert convolutions(text) == 0


AHEAD_OF_TIME = """
    import jax, jax.numpy as jnp, numpy as np
    from jax.experimental import topologies
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
    from tests.compiled.programs import PROGRAMS, collectives
    topology = topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2')
    mesh = Mesh(np.array(topology.devices), ('data',), axis_types=(AxisType.Auto,))
    program = PROGRAMS['mixture_all_scales']
    arrays = [
        jax.ShapeDtypeStruct(program.shape(n), jnp.bfloat16, sharding=NamedSharding(
            mesh, P() if n in program.shared else P('data')))
        for n in program.shapes]
    gradient = jax.grad(lambda *a: (program(*a).astype('float32') ** 2).sum(), tuple(range(len(arrays))))
    print('forward', collectives(jax.jit(program).lower(*arrays).compile()))
    print('backward', sorted(collectives(jax.jit(gradient).lower(*arrays).compile())))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason="the TPU compiler is in the 'tpu' extra")
def test_the_tpu_compiler_takes_a_batch_sharded_program_without_a_gather():
    env = os.environ | {
        'TPU_SKIP_MDS_QUERY': '1',
        'JAX_PLATFORMS': 'cpu',
        'TPU_WORKER_HOSTNAMES': 'localhost',
        'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
    }
    run = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(AHEAD_OF_TIME)], env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split('\n')[:2] == ['forward {}', "backward ['all-reduce']"]
