"""Schedules of the step: attention temperature and learning rate, as pure functions that jit."""

import math

import jax.numpy as jnp
import numpy as np


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


def learning_rate(optimization, peak, epochs, steps_per_epoch):
    """The learning rate (float32 scalar) as a function of the step, which counts from 0 and may be traced.

    `optimization` is `settings.Optimization`: schedule, warm-up and their numbers; `peak` is the learning rate after
    warm-up (`optimization.learning_rate`, scaled to the batch). With t = step / steps_per_epoch, w = warmup_epochs,
    s = (t - w) / (epochs - w) and `end` = final_learning_rate:

    * t < w: peak * t / w, whatever the schedule; the first step of a run with warm-up has rate 0.
    * constant: peak.
    * cosine: end + (peak - end) * (1 + cos(pi s)) / 2.
    * polynomial: end + (peak - end) * (1 - s) ** power.
    * compound-polynomial: end + (peak - end) * prod_{k = 1 .. floor(t - w)} (1 - k / (epochs - w)) ** power: after each
      epoch the rate itself, no longer the peak, is multiplied by the factor of 'polynomial', as in HDFNet's trainer
      (lartpang/HDFNet). It falls far sooner: of 30 epochs with power 0.9 the last 15 are below an 85th of the peak.
    * step: peak * gamma ** (number of milestones <= t).
    * exponential: peak * gamma ** (t / decay_epochs), the exponent rounded down if `staircase`.

    Cosine and both polynomials thus begin where the warm-up ends and are continuous there. Milestones and exponents
    count epochs of the whole run, of which the warm-up replaces the beginning, as in TensorFlow's EfficientNet
    (`build_learning_rate`) and in Goyal et al. (arXiv:1706.02677). `per_epoch` rounds t down outside of the warm-up,
    as ODConv's trainer does for its cosine. A warm-up as long as the run or longer ends at its last step; after the
    last step the rate stays.

    >>> from flax_dynconv.training.settings import Optimization
    >>> rate = learning_rate(Optimization(warmup_epochs=1), peak=0.4, epochs=5, steps_per_epoch=2)
    >>> [round(float(rate(step)), 3) for step in (0, 1, 2, 6, 10)]
    [0.0, 0.2, 0.4, 0.2, 0.0]
    """
    o, steps = optimization, epochs * steps_per_epoch
    warmup = min(round(o.warmup_epochs * steps_per_epoch), max(0, steps - 1))
    rest = max(1, steps - warmup)

    def first_step(epoch):
        """The first step whose t is at least `epoch`; what is off by rounding alone counts as there."""
        boundary = math.ceil(epoch - 1e-9) * steps_per_epoch if o.per_epoch else epoch * steps_per_epoch
        return math.ceil(boundary - 1e-6)

    def passed(epochs):
        """How many of those epochs have begun, exactly: a quotient of float32 might round up to the next."""
        boundaries = np.array([first_step(epoch) for epoch in epochs], np.int32)
        return lambda step: jnp.sum(boundaries <= step).astype(jnp.float32)

    def share(step):
        return jnp.clip((step - warmup).astype(jnp.float32) / jnp.float32(rest), 0.0, 1.0)

    def ended(step):
        """Whole epochs since the warm-up, 0 within it: `per_epoch` may look back to there."""
        return jnp.maximum(0, step - warmup) // steps_per_epoch

    # The factor that falls from 1, to 0 for the schedules that end at `final_learning_rate`.
    if o.schedule == 'cosine':
        end, factor = o.final_learning_rate, lambda step: 0.5 * (1 + jnp.cos(jnp.float32(math.pi) * share(step)))
    elif o.schedule == 'polynomial':
        end, factor = o.final_learning_rate, lambda step: (1 - share(step)) ** jnp.float32(o.power)
    elif o.schedule == 'compound-polynomial':
        shares = steps_per_epoch * np.arange(rest // steps_per_epoch + 1) / rest
        factors = np.cumprod((1 - shares) ** o.power).astype(np.float32)
        end, factor = o.final_learning_rate, lambda step: jnp.asarray(factors)[ended(step)]
    elif o.schedule == 'step':
        count = passed(o.milestones)
        end, factor = 0.0, lambda step: jnp.float32(o.gamma) ** count(step)
    elif o.schedule == 'exponential' and o.staircase:
        count = passed([k * o.decay_epochs for k in range(1, math.ceil(epochs / o.decay_epochs) + 1)])
        end, factor = 0.0, lambda step: jnp.float32(o.gamma) ** count(step)
    elif o.schedule == 'exponential':
        unit = np.float32(o.decay_epochs * steps_per_epoch)
        end, factor = 0.0, lambda step: jnp.float32(o.gamma) ** (step.astype(jnp.float32) / unit)
    else:
        end, factor = peak, lambda step: jnp.float32(1.0)

    def rate(step):
        step = jnp.minimum(jnp.asarray(step, jnp.int32), steps)
        later = step // steps_per_epoch * steps_per_epoch if o.per_epoch else step
        decayed = jnp.float32(end) + jnp.float32(peak - end) * factor(later)
        rising = jnp.float32(peak) * (step.astype(jnp.float32) / jnp.float32(max(1, warmup)))
        return jnp.where(step < warmup, rising, decayed)

    return rate
