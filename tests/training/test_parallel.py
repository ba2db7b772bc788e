"""One device, eight devices, each way to lay out the state: the same numbers, and nothing travels that should not."""

import functools
import math

import jax
import numpy as np
import pytest
from flax import linen as nn

from flax_dynconv.layers import ODConv
from flax_dynconv.models import create_model
from flax_dynconv.training.plan import Plan
from flax_dynconv.training.sharding import PRESETS, collectives
from tests.models.tiny import tiny
from tests.tolerances import assert_close
from tests.training import parallel, toy

NAMES = ('odconv_resnet18_4x', 'condconv_efficientnet_b0_4e', 'dyconv_mobilenetv2_050_4x')


@functools.cache
def on_one_device(name, **options):
    model = parallel.model(name)
    return parallel.run(model, parallel.placement(model, 'replicate', devices=1), **options)


def assert_same(actual, expected):
    """States, metrics and figures, to the rounding of float32 sums in another order."""
    jax.tree.map(
        lambda a, b: assert_close(a, b) if a.dtype.kind == 'f' else np.testing.assert_array_equal(a, b),
        actual,
        expected,
    )


def is_one_of(shape, shapes):
    """Whether an array is one of these but for transposition and axes that are flattened or of length one."""
    size = math.prod(shape)
    return any(math.prod(other) == size and (set(shape) - {1} <= _products(other)) for other in shapes)


def _products(shape):
    """Lengths that merging neighbouring or other axes of a shape can give."""
    products = {1}
    for length in shape:
        products |= {length * product for product in products}
    return products


def check_traffic(model, where, preset, of=None, **options):
    """Only sums, and in presets that divide parameters one gather of each of those that are divided; its bytes."""
    found = collectives(parallel.compiled(model, where, of, **options)[0])
    gathers = [c for c in found if c.kind != 'all-reduce']
    if preset == 'replicate':
        assert not gathers, gathers
        return 0
    assert {c.kind for c in gathers} == {'all-gather'}, gathers
    _, shapes, _ = parallel.facts(model, of)
    divided = [leaf for leaf in jax.tree.leaves(where.templates(shapes).params) if any(a for a in leaf.sharding.spec)]
    assert divided
    for gather in gathers:
        for _, shape in gather.results:
            assert is_one_of(shape, [leaf.shape for leaf in divided]), gather
    assert sum(c.bytes for c in gathers) == sum(leaf.size * leaf.dtype.itemsize for leaf in divided)
    return sum(c.bytes for c in gathers)


@pytest.mark.parametrize('preset', PRESETS)
def test_eight_devices_give_the_numbers_of_one(preset):
    model = parallel.model(NAMES[0])
    where = parallel.placement(model, preset)
    assert_same(parallel.run(model, where), on_one_device(NAMES[0]))
    check_traffic(model, where, preset)


def test_accumulation_on_eight_devices_gives_the_numbers_of_one():
    model = parallel.model(NAMES[0])
    expected = on_one_device(NAMES[0], accumulate=2)
    where = parallel.placement(model, 'fsdp')
    assert_same(parallel.run(model, where, accumulate=2), expected)
    check_traffic(model, where, 'fsdp', accumulate=2)


@pytest.mark.parametrize('preset', ['replicate', 'fsdp'])
@pytest.mark.parametrize('name', NAMES[1:])
def test_no_activation_and_no_kernel_of_a_sample_travels(name, preset):
    model = parallel.model(name)
    check_traffic(model, parallel.placement(model, preset), preset)


def test_a_gather_of_activations_would_be_seen():
    model = tiny(NAMES[0], conv=functools.partial(ODConv, num_kernels=2, implementation='grouped'))
    with pytest.raises(AssertionError, match='all-gather'):
        check_traffic(model, parallel.placement(model, 'replicate'), 'replicate')
    with pytest.raises(AssertionError):
        check_traffic(model, parallel.placement(model, 'fsdp'), 'fsdp')


class Wide(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2**14, kernel_init=nn.initializers.normal())(x.reshape(len(x), -1)).mean(1)


def test_parameters_are_born_divided():
    """No device holds the whole of them while they are made."""
    plan = Plan(Wide(), toy.Regression(16, 8), toy.SETTINGS.updated(batch_size=8, sharding='fsdp'))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, plan.shapes)
    memory = jax.jit(plan._fresh, out_shardings=shardings).lower().compile().memory_analysis()
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(plan.shapes.params))
    assert memory.output_size_in_bytes < 2 * whole / 7  # With momentum.
    assert memory.temp_size_in_bytes < whole / 2
    kernel = plan.initial().params['Dense_0']['kernel']
    assert {shard.data.shape for shard in kernel.addressable_shards} == {(12, 2**14 // 8)}


@pytest.mark.slow
@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('name', NAMES)
def test_no_activation_travels_in_the_whole_network(name, preset, capsys):
    """At full width and depth, on small images; prints what the gathers of parameters weigh."""
    model, of = create_model(name, num_classes=3), parallel.task(32, 3)
    size = check_traffic(model, parallel.placement(model, preset, of=of, least=2**12), preset, of)
    with capsys.disabled():
        print(f'\n{name} {preset}: parameters gathered in a step: {size / 1e6:.1f} MB')
