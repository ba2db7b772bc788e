"""JAX functions as programs: compiled ahead of time, with the compiler's own account of memory."""

import time

import jax
import jax.numpy as jnp

from flax_dynconv.bench.program import FORWARD, GRADIENT, Built, Program


def both_directions(name: str, function, operands, cotangent, fixed=()):
    """`function(*operands, *fixed)`, and it with its gradient with respect to the operands, as programs of one name.

    The cotangent is an argument of the program, so that nothing is folded away.
    """
    operands, fixed, cotangent = jax.tree.map(jnp.asarray, (operands, fixed, cotangent))

    def gradient(cotangent, operands, fixed):
        y, pull_back = jax.vjp(lambda *operands: function(*operands, *fixed), *operands)
        return y, pull_back(cotangent)

    yield Program(name, FORWARD, lambda: compiled(function, (*operands, *fixed)))
    yield Program(name, GRADIENT, lambda: compiled(gradient, (cotangent, operands, fixed)))


def compiled(function, operands) -> Built:
    """The compiled program with `compile_seconds` (tracing and lowering included) and its bytes by kind."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*operands).compile()
    facts = {'compile_seconds': time.perf_counter() - start, **memory(program)}
    return Built(lambda: jax.block_until_ready(program(*operands)), facts)


def memory(program) -> dict:
    """Bytes of temporaries and of arguments plus results; empty where the compiler does not say."""
    analysis = program.memory_analysis()
    if analysis is None:
        return {}
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return {'temp_bytes': analysis.temp_size_in_bytes, 'held_bytes': held}
