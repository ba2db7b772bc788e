"""Schedules against the formulas they state."""

import math

import jax
import numpy as np
import pytest

from flax_dynconv.training import schedules


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


def test_learning_rate_warms_up_and_follows_a_cosine():
    rate = schedules.learning_rate(0.5, steps=30, warmup_steps=10)
    assert [float(rate(i)) for i in range(11)] == pytest.approx([0.05 * i for i in range(11)])
    expected = [0.25 * (1 + math.cos(math.pi * i / 20)) for i in range(21)]
    assert [float(rate(10 + i)) for i in range(21)] == pytest.approx(expected, abs=1e-7)


def test_learning_rate_of_a_run_shorter_than_its_warm_up():
    assert float(schedules.learning_rate(0.5, steps=1, warmup_steps=10)(0)) == 0.5
