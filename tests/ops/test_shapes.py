"""The named workloads are calls that the operators accept, with the sizes that the models have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.ops.shapes import (
    BATCHES,
    CONDINST,
    DFN,
    DMNET,
    DYNET,
    EFFICIENTNET,
    HDFNET,
    INVOLUTION,
    MOBILENETV2,
    ODCONV,
    RESNET18,
    WORKLOADS,
)
from tests.ops.operators import OPERATORS
from tests.tolerances import assert_close


def test_names_are_unique():
    families = (RESNET18, ODCONV, MOBILENETV2, EFFICIENTNET, DYNET, DMNET, HDFNET, DFN, INVOLUTION, CONDINST)
    assert len(WORKLOADS) == sum(map(len, families))


@pytest.mark.parametrize('batch', BATCHES)
def test_every_operator_accepts_its_workloads(batch):
    for name, workload in WORKLOADS.items():
        operator = OPERATORS[workload.operator].function
        arrays = {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, shape in workload.shapes(batch).items()}
        y = jax.eval_shape(lambda a, w=workload, f=operator: f(**a, **w.options), arrays)
        wanted = (batch * workload.instances, *workload.spec.out_spatial, workload.out_features)
        assert y.shape == wanted, name


@pytest.mark.parametrize(
    ('name', 'shapes', 'multiply_adds'),
    [
        (
            'odconv4x_14x14',
            {'kernels': (4, 3, 3, 256, 256), 'weights': (2, 4), 'tap_scale': (2, 3, 3), 'output_scale': (2, 256)},
            2 * 14 * 14 * 256 * 256 * 9,
        ),
        ('resnet18_56x56_down', {'kernels': (4, 3, 3, 64, 128)}, 2 * 28 * 28 * 64 * 128 * 9),
        ('efficientnet_depthwise_14x14_down', {'kernels': (8, 5, 5, 1, 672)}, 2 * 7 * 7 * 672 * 25),
        ('dynet_mobile_grouped_14x14', {'kernels': (6, 3, 3, 6, 96), 'weights': (2, 6, 96)}, 2 * 14**2 * 96 * 6 * 9),
        ('dcm_7x7', {'x': (2, 64, 128, 512), 'kernel': (2, 7, 7, 1, 512)}, 2 * 64 * 128 * 512 * 49),
        ('ddpm4_dilation5', {'kernels': (2, 80, 80, 3, 3, 16)}, 2 * 80 * 80 * 16 * 9),
        ('dfn_multichannel_9x9', {'kernels': (2, 64, 64, 9, 9, 3, 1)}, 2 * 64 * 64 * 81 * 3),
        ('condinst_layer0', {'x': (200, 100, 168, 10), 'kernel': (200, 1, 1, 10, 8)}, 200 * 100 * 168 * 80),
    ],
)
def test_sizes_of_the_models(name, shapes, multiply_adds):
    workload = WORKLOADS[name]
    assert workload.shapes(2) | shapes == workload.shapes(2)
    assert workload.multiply_adds(2) == multiply_adds


@pytest.mark.parametrize('name', ['odconv4x_depthwise_14x14', 'dynet_mobile_grouped_14x14', 'ddpm16_dilation3'])
def test_the_library_choice_agrees_with_the_definition_at_model_size(name):
    workload = WORKLOADS[name]
    operator = OPERATORS[workload.operator].function
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in workload.shapes(2).items()}
    run = jax.jit(lambda a, form: operator(**a, **workload.options, implementation=form), static_argnums=1)
    assert_close(run(arrays, None), run(arrays, 'reference'))
