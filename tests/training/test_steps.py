"""What a training step promises besides its numbers on several devices: parts of a batch, statistics, averages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from flax_dynconv.layers import BatchNorm, DynamicConv
from flax_dynconv.training import ema, steps
from flax_dynconv.training.state import TrainState
from tests.tolerances import assert_close
from tests.training import parallel
from tests.x64 import x64


class Plain(nn.Module):
    """No batch norm: the mean over a batch is the mean over its parts."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(DynamicConv(4, (3, 3), num_kernels=2)(x))
        return nn.Dense(3)(x.mean((1, 2)))


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(BatchNorm(use_running_average=not train, momentum=0.9)(nn.Conv(4, (3, 3))(x)))
        return nn.Dense(3)(x.mean((1, 2)))


@pytest.mark.parametrize('devices', [1, 8])
def test_accumulation_is_the_large_batch(devices):
    """In three updates, to the rounding of sums in another order."""
    model = Plain()
    where = parallel.placement(model, 'replicate', devices)
    parts, whole = (parallel.run(model, where, count=1, size=32, accumulate=n) for n in (4, 1))
    jax.tree.map(lambda a, b: assert_close(a, b) if a.dtype.kind == 'f' else None, parts, whole)
    assert parts[1]['count'] == whole[1]['count'] == 32


def by_hand(model, state, batch, parts):
    """Mean gradient, mean statistics and summed metrics of parts of a batch, one at a time, without a mesh."""
    results = []
    for rows in parts:
        part = {name: array[rows] for name, array in batch.items()}

        def loss(params, part=part):
            variables = {**state.variables, 'params': params}
            outputs, updates = model.apply(variables, part['image'], train=True, mutable=['batch_stats'])
            return parallel.task().loss(outputs, part), updates['batch_stats']

        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        results.append((gradient, statistics, value))
    return jax.tree.map(lambda *each: sum(each) / len(each), *results)


def test_statistics_of_each_device_are_those_of_its_rows():
    model = Normed()
    where = parallel.placement(model, 'replicate')
    (batch,) = parallel.batches(1)
    fresh, _, _ = parallel.facts(model)
    before = fresh()
    gradient, statistics, loss = by_hand(model, before, batch, np.split(np.arange(16), 8))
    after, metrics, figures = parallel.run(model, where, count=1, batch_statistics='device')
    jax.tree.map(assert_close, after.batch_stats, statistics)
    jax.tree.map(lambda p, g, q: assert_close(q, p - 0.1 * g), before.params, gradient, after.params)
    assert_close(figures['loss'], loss)
    assert metrics['count'] == 16
    # And they are not the statistics of the whole batch.
    whole, *_ = parallel.run(model, where, count=1)
    assert not np.allclose(whole.params['Conv_0']['kernel'], after.params['Conv_0']['kernel'], atol=1e-5)


def test_statistics_by_device_send_the_sums_of_gradients_only():
    from flax_dynconv.training.sharding import collectives

    model = parallel.model('odconv_resnet18_4x')
    step, _ = parallel.compiled(model, parallel.placement(model, 'replicate'), batch_statistics='device')
    found = collectives(step)
    assert {c.kind for c in found} == {'all-reduce'}
    _, shapes, _ = parallel.facts(model)
    reduced = sum(leaf.size for leaf in jax.tree.leaves((shapes.params, shapes.batch_stats)))
    assert sum(np.prod(shape) for c in found for _, shape in c.results) < reduced + 32  # figures and metrics


def test_the_gradient_of_a_step_agrees_with_float64():
    """The whole step, placed and accumulated, in float32 against its plain gradient in float64."""
    model = Plain()
    (batch,) = parallel.batches(1, size=32)
    fresh, _, _ = parallel.facts(model)
    before = fresh()
    after, *_ = parallel.run(model, parallel.placement(model, 'replicate'), count=1, size=32, accumulate=2)
    moved = jax.tree.map(lambda p, q: (np.asarray(p, np.float64) - q) / 0.1, before.params, after.params)
    with x64():
        wide = jax.tree.map(lambda p: jnp.asarray(np.asarray(p), jnp.float64), before.variables)
        wide['temperature'] = jax.tree.map(lambda t: jnp.full_like(t, 2.0), wide['temperature'])

        def loss(params):
            outputs = model.apply({**wide, 'params': params}, jnp.asarray(batch['image'], jnp.float64))
            return optax.softmax_cross_entropy_with_integer_labels(outputs, batch['label']).mean()

        gradient = jax.tree.map(np.asarray, jax.grad(loss)(wide['params']))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), moved, gradient)


def test_a_skipped_update_changes_the_counters_alone():
    model = Normed()
    where = parallel.placement(model, 'replicate', devices=1)
    step, initial = parallel.compiled(model, where, skip_nonfinite=True)
    (batch,) = parallel.batches(1)
    bad = {**batch, 'image': np.where(np.arange(16)[:, None, None, None] == 3, np.inf, batch['image'])}
    before = jax.tree.map(np.asarray, initial())
    after, _, figures = step(initial(), where.batch(bad, 16))
    assert figures['finite'] == 0
    assert (int(after.step), int(after.skipped)) == (1, 1)
    same = after.replace(step=before.step, skipped=before.skipped)
    jax.tree.map(np.testing.assert_array_equal, same, before)
    after, _, figures = step(after, where.batch(batch, 16))
    assert figures['finite'] == 1 and (int(after.step), int(after.skipped)) == (2, 1)
    assert not np.array_equal(after.params['Dense_0']['kernel'], before.params['Dense_0']['kernel'])
    # Averages count updates, as the optimiser does: for this one, the first, they keep a tenth.
    new = {'params': after.params, 'batch_stats': after.batch_stats}
    jax.tree.map(assert_close, after.ema, jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, before.ema, new))


def test_an_average_follows():
    average = new = {'w': jnp.zeros((), jnp.float32), 'half': jnp.zeros((), jnp.bfloat16)}
    new = jax.tree.map(lambda x: x + 1, new)
    expected = 0.0
    for step in range(200):
        average = ema.follow(average, new, 0.95, step)
        keep = min(0.95, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep)
    assert float(average['w']) == pytest.approx(expected, rel=1e-5)
    assert average['half'].dtype == jnp.bfloat16


def test_a_state_with_averages_starts_with_its_own_copy():
    """What is donated is donated once."""
    model = Normed()
    fresh, *_ = parallel.facts(model)
    state = fresh()
    assert isinstance(state, TrainState)
    donated = jax.jit(lambda s: jax.tree.map(lambda x: x + x if x.dtype.kind == 'f' else x, s), donate_argnums=0)
    with_average = TrainState.create(state.variables, optax.sgd(0.1), jax.random.key(0), ema=True)
    jax.block_until_ready(donated(with_average))


def test_parts_of_a_batch_take_every_nth_row():
    parts = steps._parts(jnp.arange(12), 3, None)
    np.testing.assert_array_equal(parts, [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])
