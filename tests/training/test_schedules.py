"""Schedules against the formulas they state, written out in float64, and against the trainers they follow."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training import schedules
from flax_dynconv.training.settings import Optimization


def rates(epochs, steps_per_epoch, peak=0.5, beyond=0, **fields):
    """The learning rate of every step of a run, by one compiled program, and `beyond` steps more."""
    rate = schedules.learning_rate(Optimization(**fields), peak, epochs, steps_per_epoch)
    values = jax.jit(jax.vmap(rate))(jnp.arange(epochs * steps_per_epoch + beyond))
    assert values.dtype == np.float32
    return np.asarray(values, np.float64)


def test_temperature_is_odconvs_formula():
    """T = 1 + max(0, (start - 1) (N - cur) / N), cur = batch + 1 + epoch * iterations: 30 and 10 epochs of 7."""
    start, iterations, epochs = 30.0, 7, 10
    schedule = jax.jit(schedules.temperature(start, iterations * epochs))
    n = iterations * epochs
    for epoch in range(epochs + 2):
        for batch in range(iterations):
            cur = batch + 1 + epoch * iterations
            expected = 1 + max(0.0, (start - 1) * (n - cur) / n)
            assert float(schedule(np.int32(cur - 1))) == pytest.approx(expected, rel=1e-6)
    assert float(schedule(0)) == pytest.approx(30 - 29 / n, rel=1e-6)
    assert float(schedule(n - 2)) > 1.0
    assert float(schedule(n - 1)) == 1.0


def test_temperature_without_annealing_is_one():
    assert float(schedules.temperature(30.0, 0)(0)) == 1.0
    assert float(schedules.temperature(1.0, 10)(0)) == 1.0


def test_cosine_begins_where_the_warm_up_ends():
    got = rates(3, 10, schedule='cosine', warmup_epochs=1, final_learning_rate=0.1, beyond=2)
    rising = [0.05 * i for i in range(10)]
    falling = [0.1 + 0.2 * (1 + math.cos(math.pi * i / 20)) for i in range(20)]
    np.testing.assert_allclose(got, [*rising, *falling, 0.1, 0.1], rtol=1e-6, atol=1e-7)


def test_cosine_per_epoch_is_odconvs():
    """lr (1 + cos(pi epoch / epochs)) / 2, with batches of the epoch left out, as its trainer calls it."""
    got = rates(15, 3, peak=0.05, schedule='cosine', warmup_epochs=0, per_epoch=True).reshape(15, 3)
    for epoch in range(15):
        np.testing.assert_allclose(got[epoch], 0.05 * (1 + math.cos(math.pi * epoch / 15)) / 2, rtol=1e-5)


def test_steps_are_odconvs():
    """lr * gamma ** (number of milestones <= epoch)."""
    got = rates(100, 4, peak=0.1, schedule='step', warmup_epochs=0, milestones=(30, 60, 90)).reshape(100, 4)
    for epoch in range(100):
        expected = 0.1 * 0.1 ** sum(milestone <= epoch for milestone in (30, 60, 90))
        np.testing.assert_allclose(got[epoch], expected, rtol=1e-6)


def test_milestones_count_from_the_start_of_the_run():
    got = rates(6, 10, peak=1.0, schedule='step', warmup_epochs=1, milestones=(1.5, 0.3 * 10), gamma=0.5)
    np.testing.assert_allclose(got, [*np.arange(10) / 10, *[1.0] * 5, *[0.5] * 15, *[0.25] * 30], rtol=1e-6)


@pytest.mark.parametrize('steps_per_epoch', [5, 626, 1251])
def test_exponential_is_tensorflows_efficientnet(steps_per_epoch):
    """Staircases count from step 0; the warm-up of 5 epochs replaces the beginning, so that it ends in a fall."""
    fields = {'schedule': 'exponential', 'warmup_epochs': 5, 'gamma': 0.97, 'decay_epochs': 2.4, 'staircase': True}
    got = rates(40, steps_per_epoch, peak=0.256, **fields)
    steps = np.arange(40 * steps_per_epoch)
    # In whole numbers: step / (2.4 * steps_per_epoch) rounded down.
    expected = 0.256 * 0.97 ** (steps * 10 // (24 * steps_per_epoch))
    warmup = 5 * steps_per_epoch
    expected[:warmup] = 0.256 * steps[:warmup] / warmup
    np.testing.assert_allclose(got, expected, rtol=2e-6)
    assert got[warmup] == pytest.approx(0.256 * 0.97**2)


def test_smooth_exponential_and_per_epoch():
    smooth = rates(6, 10, schedule='exponential', warmup_epochs=0, gamma=0.5, decay_epochs=2.0)
    np.testing.assert_allclose(smooth, 0.5 * 0.5 ** (np.arange(60) / 20), rtol=2e-6)
    stairs = rates(6, 10, schedule='exponential', warmup_epochs=0, gamma=0.5, decay_epochs=2.5, per_epoch=True)
    np.testing.assert_allclose(stairs, 0.5 * 0.5 ** (np.arange(60) // 10 / 2.5), rtol=2e-6)
    both = rates(6, 10, schedule='exponential', warmup_epochs=0, decay_epochs=2.5, per_epoch=True, staircase=True)
    np.testing.assert_allclose(both, 0.5 * 0.1 ** (np.arange(60) // 10 // 2.5), rtol=2e-6)


@pytest.mark.parametrize('power', [0.0, 1.0, 2.0, 0.9])
def test_polynomial(power):
    got = rates(5, 4, schedule='polynomial', warmup_epochs=1, power=power, final_learning_rate=0.1, beyond=1)
    falling = [0.1 + 0.4 * (1 - i / 16) ** power for i in range(17)]
    np.testing.assert_allclose(got, [*np.arange(4) / 8, *falling], rtol=1e-6, atol=1e-7)


def test_compound_polynomial_is_hdfnets():
    """lr *= (1 - epoch / 30) ** 0.9 after each epoch: its published figures, and the rate that it multiplies."""
    fields = {'warmup_epochs': 0, 'power': 0.9}
    got = rates(30, 3, peak=5e-3, schedule='compound-polynomial', **fields).reshape(30, 3)
    rate = 5e-3
    for epoch in range(30):
        rate *= (1 - epoch / 30) ** 0.9
        np.testing.assert_allclose(got[epoch], rate, rtol=1e-6)
    figures = {0: 5e-3, 1: 4.85e-3, 5: 3.1e-3, 10: 7.6e-4, 15: 5.8e-5, 20: 9e-7, 29: 1e-13}
    for epoch, figure in figures.items():
        assert got[epoch, 0] == pytest.approx(figure, rel=0.06), epoch
    true = rates(30, 3, peak=5e-3, schedule='polynomial', per_epoch=True, **fields).reshape(30, 3)
    assert true[15, 0] == pytest.approx(2.7e-3, rel=0.01)
    np.testing.assert_array_equal(true[:2], got[:2])


@pytest.mark.parametrize('warmup', [1, 1.5])
@pytest.mark.parametrize('per_epoch', [False, True])
def test_compound_polynomial_begins_where_the_warm_up_ends(warmup, per_epoch):
    """And ends with the run; rates of whole epochs since then, or with `per_epoch` since the epoch's beginning."""
    fields = {'warmup_epochs': warmup, 'power': 2.0, 'final_learning_rate': 0.1, 'per_epoch': per_epoch, 'beyond': 2}
    got = rates(5, 4, schedule='compound-polynomial', **fields)
    begin = round(4 * warmup)
    for step in range(22):
        seen = min(20, step)
        seen = max(seen - seen % 4, begin) if per_epoch else seen
        product = np.prod([(1 - k / (5 - warmup)) ** 2 for k in range(1, max(0, seen - begin) // 4 + 1)])
        expected = 0.5 * step / begin if step < begin else 0.1 + 0.4 * product
        assert got[step] == pytest.approx(expected, rel=1e-6), step
    assert got[-1] == pytest.approx(0.1 if warmup == 1 else 0.1 + 0.4 * (5 / 7 * 3 / 7 * 1 / 7) ** 2)


def test_constant():
    np.testing.assert_allclose(rates(2, 4, schedule='constant', warmup_epochs=0.5), [0.0, 0.25, *[0.5] * 6])


def test_per_epoch_leaves_the_warm_up_as_it_is():
    got = rates(4, 4, schedule='cosine', warmup_epochs=1.5, per_epoch=True)
    # The rest of the second epoch still is at the peak: a whole epoch's start lies within the warm-up.
    later = [0.25 * (1 + math.cos(math.pi * (4 * epoch - 6) / 10)) for epoch in (2, 3)]
    np.testing.assert_allclose(got, [*np.arange(6) / 12, 0.5, 0.5, *np.repeat(later, 4)], rtol=1e-6)


def test_a_run_shorter_than_its_warm_up():
    assert rates(1, 1, warmup_epochs=10).tolist() == [0.5]
    np.testing.assert_allclose(rates(1, 5, warmup_epochs=10), np.arange(5) / 8)
