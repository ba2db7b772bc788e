"""Cross-entropy of class labels, smoothed and mixed, and the counts of right answers."""

import jax
import jax.numpy as jnp

TOP = 5
# With fewer classes the share of the best five says little.
CLASSES_FOR_TOP = 10


def wide(logits):
    """In float32, or wider."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def cross_entropy(logits, batch, smoothing=0.0):
    """-sum_c t_c log softmax(logits)_c for each example (N,), in float32 or wider.

    t = (1 - smoothing) * (share * onehot(label) + (1 - share) * onehot(other_label)) + smoothing / C, the share 1
    where the batch has none.

    >>> round(float(cross_entropy(jnp.zeros((1, 4)), {'label': jnp.array([2])}, smoothing=0.1)[0]), 4)
    1.3863

    Sources: Szegedy et al., "Rethinking the Inception architecture" (CVPR 2016); Zhang et al., "mixup" (ICLR 2018).
    """
    logs = jax.nn.log_softmax(wide(logits))
    loss = -_both(batch, lambda label: _of(logs, label))
    return (1 - smoothing) * loss - smoothing * jnp.mean(logs, axis=-1) if smoothing else loss


def correct(logits, batch):
    """1.0 for each example (N,) whose largest logit is its label's; of mixed labels each counts its share."""
    best = jnp.argmax(logits, axis=-1)
    return _both(batch, lambda label: (best == label).astype(jnp.float32))


def correct_in_top(logits, batch, top=TOP):
    """1.0 for each example (N,) whose label is among the `top` largest logits, of equal ones the first.

    >>> logits = jnp.array([[3.0, 2.0, 2.0], [jnp.nan, 0.0, 0.0]])
    >>> [correct_in_top(logits, {'label': jnp.array([label, 0])}, top=2).tolist() for label in (1, 2)]
    [[1.0, 0.0], [0.0, 0.0]]
    """
    classes = jnp.arange(logits.shape[-1])[None, :]

    def among(label):
        own, label = _of(logits, label)[:, None], label[:, None]
        # Counted from below, so that a NaN beats nobody.
        beaten = (own > logits) | ((own == logits) & (label < classes))
        return (jnp.sum(beaten, axis=-1) >= logits.shape[-1] - top).astype(jnp.float32)

    return _both(batch, among)


def _of(values, label):
    return jnp.take_along_axis(values, label[:, None], axis=-1)[:, 0]


def _both(batch, value):
    """`value(label)`, or the mean of those of both labels weighted by their shares."""
    if 'other_label' not in batch:
        return value(batch['label'])
    share = batch['share']
    return share * value(batch['label']) + (1 - share) * value(batch['other_label'])
