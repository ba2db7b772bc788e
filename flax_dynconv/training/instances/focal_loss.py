"""Sigmoid focal loss: cross-entropy of classes that exclude nobody, with easy answers weighing little."""

import jax
import jax.numpy as jnp

from flax_dynconv.training.losses import wide

ALPHA, GAMMA = 0.25, 2


def focal_loss(logits, targets, alpha=ALPHA, gamma=GAMMA):
    """-a_t (1 - p_t)^gamma log p_t of each logit, p_t the probability of its target; in float32 or wider.

    logits of any shape and floating dtype, targets of the same shape, 0 or 1, of any dtype. a_t is alpha where the
    target is 1 and 1 - alpha where it is 0. No precision is lost at large logits. Sums and their divisors are the
    caller's.

    Raises ValueError for arrays of different shapes.

    >>> focal_loss(jnp.zeros(2), jnp.array([1, 0])).round(4)
    Array([0.0433, 0.13  ], dtype=float32)

    Source: Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017); equal to fvcore's `sigmoid_focal_loss`,
    which AdelaiDet uses.
    """
    if logits.shape != targets.shape:
        raise ValueError(f'logits and targets must have the same shape, got {logits.shape} and {targets.shape}')
    logits = wide(logits)
    positive = targets.astype(bool)
    # Of the right answer: p_t = sigmoid(right), so both factors keep their digits where p_t is nearly 1.
    right = jnp.where(positive, logits, -logits)
    weight = jnp.where(positive, jnp.asarray(alpha, logits.dtype), jnp.asarray(1 - alpha, logits.dtype))
    return weight * jax.nn.sigmoid(-right) ** gamma * jax.nn.softplus(-right)
