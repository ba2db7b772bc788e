"""The kernel gradient of `per_position_conv` has one way of computing it for CPU and one for accelerators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.ops import per_position_conv
from flax_dynconv.ops.per_position_conv import taps
from flax_dynconv.ops.per_position_conv._spec import PositionSpec
from tests.tolerances import assert_close


@pytest.mark.parametrize('count', [1, 2, 4, None])
def test_both_ways_agree(count):
    spec = PositionSpec((5, 4), 4, 3 if count is None else 4, (3, 2), (2, 1), ((1, 2), (0, 1)), (1, 1), (1, 2),
                        kernel_count=count)  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 4, 4)).astype(np.float32)
    y = rng.standard_normal((2, *spec.out_spatial, spec.out_features)).astype(np.float32)
    padded = spec.pad(jnp.asarray(x))
    assert_close(taps._over_windows(spec, padded, y), taps._tap_by_tap(spec, padded, y))


@pytest.mark.parametrize(('platform', 'gathers'), [('cpu', True), ('cuda', False), ('tpu', False)])
def test_only_the_cpu_program_gathers(platform, gathers):
    x, kernels = jnp.ones((2, 5, 4, 4)), jnp.ones((2, 5, 4, 3, 3, 2))
    gradient = jax.jit(jax.grad(lambda x, kernels: per_position_conv(x, kernels).sum(), (0, 1)))
    text = gradient.trace(x, kernels).lower(lowering_platforms=(platform,)).as_text()
    assert ('stablehlo.gather' in text) == gathers
