"""What mixing may not do: accumulate in a half type, or hold a (B, K, kernel) intermediate."""

import jax
import jax.numpy as jnp
import pytest

from flax_dynconv import ops
from flax_dynconv.ops.mixture_conv import IMPLEMENTATIONS
from tests.jaxprs import equations

B, K, CIN, COUT = 5, 7, 3, 11
SHAPES = {
    'x': (B, 6, 6, CIN),
    'kernels': (K, 3, 3, CIN, COUT),
    'weights': (B, K),
    'input_scale': (B, CIN),
    'output_scale': (B, COUT),
    'tap_scale': (B, 3, 3),
}


def program(implementation, per_output, dtype):
    """The jaxpr of output and all gradients."""
    shapes = SHAPES | ({'weights': (B, K, COUT)} if per_output else {})
    if implementation == 'features_out':
        shapes = {n: s for n, s in shapes.items() if n != 'tap_scale'}
    arrays = {n: jnp.ones(s, dtype if n == 'x' else jnp.float32) for n, s in shapes.items()}

    def loss(arrays):
        return ops.mixture_conv(**arrays, implementation=implementation).astype(jnp.float32).sum()

    return list(equations(jax.make_jaxpr(jax.value_and_grad(loss))(arrays).jaxpr))


FORMS = [
    (name, per_output)
    for name in [None, *IMPLEMENTATIONS]
    for per_output in (False, True)
    if name != 'taps' and not (name in ('features_in', 'blocks', 'columns') and per_output)
]


@pytest.mark.parametrize(('implementation', 'per_output'), FORMS)
def test_no_kernel_per_sample_and_bank_entry(implementation, per_output):
    """No array has B * K * kernel elements, in the forward or in the backward pass."""
    size = B * K * 3 * 3 * CIN * COUT
    shapes = {v.aval.shape for e in program(implementation, per_output, jnp.float32) for v in e.outvars}
    assert shapes
    assert not [s for s in shapes if jnp.prod(jnp.array(s or (1,))) == size]


@pytest.mark.parametrize('per_output', [False, True])
@pytest.mark.parametrize('implementation', [None, 'reference', 'grouped', 'patches', 'loop'])
def test_kernels_are_mixed_in_float32_at_full_precision(implementation, per_output):
    """Every product that reads the bank has float32 operands, though x is bfloat16."""
    bank = K * 3 * 3 * CIN * COUT
    products = [e for e in program(implementation, per_output, jnp.bfloat16) if e.primitive.name == 'dot_general']
    mixing = [e for e in products if any(v.aval.size == bank for v in (*e.invars, *e.outvars))]
    assert mixing
    for equation in mixing:
        if any(B in v.aval.shape and v.aval.shape[-1] == CIN for v in equation.invars):
            continue  # a feature form's product of activations and bank
        assert {v.aval.dtype for v in equation.invars} == {jnp.dtype(jnp.float32)}
        assert set(equation.params['precision']) == {jax.lax.Precision.HIGHEST}
