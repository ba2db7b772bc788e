"""The optimiser of a run as one optax transformation: clip, decay, scale; and its learning rate."""

import jax
import optax

from flax_dynconv.models import decay_mask
from flax_dynconv.training import schedules

# Where the settings leave them open: TensorFlow's EfficientNet; Kingma and Ba; You et al.
SECOND_MOMENT = {'rmsprop': 0.9, 'adamw': 0.999, 'lamb': 0.999}
EPSILON = {'rmsprop': 1e-3, 'adamw': 1e-8, 'lamb': 1e-6}


def make_optimizer(settings, steps_per_epoch, labels=None):
    """(transformation, rate) of `settings`: an `optax.GradientTransformation`, and the learning rate of a step.

    The gradient g of the loss is first clipped: divided by max(1, |g| / clip_norm), |g| the norm of all of it. With
    weight decay d (0 for parameters that `no_decay` names), momentum m, v decaying with b = second_moment, learning
    rate r and parameters p, a step then is

    * sgd: g += d p; u = m u + g; p -= r u, or, with Nesterov, p -= r (g + m u), as `torch.optim.SGD`;
    * rmsprop: g += d p; v = b v + (1 - b) g^2 from v = 1; u = m u + r g / sqrt(v + epsilon); p -= u, as
      `tf.train.RMSPropOptimizer`;
    * adamw: with a and v the means of g and g^2 without their bias, p -= r (a / (sqrt(v) + epsilon) + d p), as
      `torch.optim.AdamW`;
    * lamb: with w = a / (sqrt(v) + epsilon) + d p of each array, p -= r w |p| / |w| (the ratio is 1 where a norm is 0).

    All in the dtype of the parameters. `learning_rate_batch` scales the rate by batch_size / learning_rate_batch;
    `final_learning_rate` is not scaled. `rate` is `schedules.learning_rate` and counts the updates from 0.

    `labels` is the tree of `param_labels(model, *inputs)`; ValueError where it is None and `no_decay` names one of its
    labels. 'bias' needs none: it stands for all but the kernels, by `decay_mask`.

    >>> import jax.numpy as jnp
    >>> from flax_dynconv.training.settings import Settings
    >>> settings = Settings().updated(learning_rate=0.1, warmup_epochs=0.0, schedule='constant', weight_decay=0.0)
    >>> optimizer, rate = make_optimizer(settings, steps_per_epoch=10)
    >>> params = {'kernel': jnp.ones(2)}
    >>> changes, _ = optimizer.update({'kernel': jnp.ones(2)}, optimizer.init(params), params)
    >>> round(float(changes['kernel'][0]), 3), round(float(rate(0)), 3)
    (-0.1, 0.1)
    """
    o = settings.optimization
    scale = 1.0 if o.learning_rate_batch is None else settings.images.batch_size / o.learning_rate_batch
    rate = schedules.learning_rate(o, o.learning_rate * scale, settings.epochs, steps_per_epoch)
    decay = optax.add_decayed_weights(o.weight_decay, mask=_decaying(o.no_decay, labels))
    epsilon = EPSILON.get(o.optimizer) if o.epsilon is None else o.epsilon
    second = SECOND_MOMENT.get(o.optimizer) if o.second_moment is None else o.second_moment
    momentum = o.momentum or None  # None keeps no state
    if o.optimizer == 'sgd':
        parts = decay, optax.sgd(rate, momentum=momentum, nesterov=o.nesterov)
    elif o.optimizer == 'rmsprop':
        # TensorFlow's mean square starts at 1, and its momentum is of steps that have their learning rate already.
        parts = decay, optax.rmsprop(rate, decay=second, eps=epsilon, initial_scale=1.0, momentum=momentum)
    else:
        parts = optax.scale_by_adam(b1=o.momentum, b2=second, eps=epsilon), decay
        if o.optimizer == 'lamb':
            parts = *parts, optax.scale_by_trust_ratio()
        parts = *parts, optax.scale_by_learning_rate(rate)
    clip = () if o.clip_norm is None else (optax.clip_by_global_norm(o.clip_norm),)
    return optax.chain(*clip, *parts), rate


def _decaying(no_decay, labels):
    """optax's mask of weight decay: None for all parameters, or a function of their tree."""
    labelled = set(no_decay) - {'bias'}
    if labelled and labels is None:
        raise ValueError(f'labels must be given (by param_labels) where no_decay names {sorted(labelled)}, got None')
    if not no_decay:
        return None

    def mask(params):
        decays = decay_mask(params) if 'bias' in no_decay else jax.tree.map(lambda _: True, params)
        return jax.tree.map(lambda d, label: d and label not in labelled, decays, labels) if labelled else decays

    return mask
