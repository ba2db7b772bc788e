"""Programs exported with a symbolic batch run at any batch size; forward and gradient."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from flax_dynconv import ops
from tests.compiled.programs import PROGRAMS, C, S
from tests.tolerances import assert_close


@pytest.mark.parametrize('name', PROGRAMS)
def test_symbolic_batch(name):
    program = PROGRAMS[name]
    (b,) = export.symbolic_shape('b')
    signature = [jax.ShapeDtypeStruct(program.shape(n, b), jnp.float32) for n in program.shapes]

    def both(*arrays):
        operands = tuple(range(len(arrays)))
        return program(*arrays), jax.grad(lambda *a: (program(*a) ** 2).sum(), operands)(*arrays)

    exported = export.export(jax.jit(both))(*signature)
    for batch in (1, 3):
        arrays = program.arrays(batch)
        jax.tree.map(assert_close, exported.call(*arrays), jax.jit(both)(*arrays))


def test_grouped_declines_a_symbolic_batch():
    (b,) = export.symbolic_shape('b')
    x = jax.ShapeDtypeStruct((b, *S, C), jnp.float32)
    kernel = jax.ShapeDtypeStruct((b, 3, 3, C, C), jnp.float32)
    with pytest.raises(NotImplementedError, match='needs a concrete batch size, got b'):
        export.export(jax.jit(lambda x, k: ops.per_sample_conv(x, k, implementation='grouped')))(x, kernel)


def test_an_exported_program_survives_serialisation():
    program = PROGRAMS['mixture_all_scales']
    (b,) = export.symbolic_shape('b')
    signature = [jax.ShapeDtypeStruct(program.shape(n, b), jnp.float32) for n in program.shapes]
    pytest.importorskip('flatbuffers', reason='serialisation is in the export extra')
    exported = export.deserialize(export.export(jax.jit(program))(*signature).serialize())
    arrays = program.arrays(5)
    assert_close(exported.call(*arrays), program(*arrays))
