"""Schedules of the step: attention temperature and learning rate, as pure functions that jit."""

import jax.numpy as jnp
import optax


def temperature(start, steps):
    """T(step) = 1 + max(0, (start - 1) * (N - (step + 1)) / N): linear from `start` to 1 in N = `steps` steps.

    `step` counts from 0, so the first step is already one N-th below `start` and step N - 1 is exactly 1, as in
    ODConv's trainer (which updates every iteration, not every epoch). N = 0: always 1.

    >>> t = temperature(30.0, steps=29)
    >>> float(t(0)), float(t(28)), float(t(1000))
    (29.0, 1.0, 1.0)
    """

    def schedule(step):
        if steps <= 0:
            return jnp.float32(1.0)
        left = jnp.maximum(0, steps - (jnp.asarray(step) + 1))
        return jnp.float32(1.0) + jnp.float32(start - 1.0) * (left.astype(jnp.float32) / jnp.float32(steps))

    return schedule


def learning_rate(peak, steps, warmup_steps=0):
    """Linear from 0 to `peak` in `warmup_steps`, then half a cosine down to 0 at `steps`.

    >>> rate = learning_rate(0.4, steps=10, warmup_steps=2)
    >>> [round(float(rate(step)), 3) for step in (0, 1, 2, 6, 10)]
    [0.0, 0.2, 0.4, 0.2, 0.0]
    """
    warmup_steps = min(warmup_steps, max(0, steps - 1))
    cosine = optax.cosine_decay_schedule(peak, max(1, steps - warmup_steps))
    if not warmup_steps:
        return cosine
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup_steps), cosine], [warmup_steps])
