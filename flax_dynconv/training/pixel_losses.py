"""Cross-entropy of the labels of pixels, some of which are ignored."""

import jax
import jax.numpy as jnp

from flax_dynconv.training.losses import wide

AVERAGES = ('all', 'valid')


def counted(label, mask, ignore_label):
    """Which pixels (N, H, W) count: those of examples, but for ignored ones; bool.

    >>> counted(jnp.array([[[0, 255]]]), jnp.array([1.0]), 255).tolist()
    [[[True, False]]]
    """
    return (label != ignore_label) & (mask > 0)[:, None, None]


def pixel_cross_entropy(logits, label, valid):
    """-log softmax(logits)[label] of each pixel (N, H, W), 0 where not `valid`; in float32 or wider.

    logits (N, H, W, C), label (N, H, W) integers from 0 to C - 1 wherever `valid` (N, H, W) is true.

    >>> label = jnp.array([[[2, 255]]])
    >>> pixel_cross_entropy(jnp.zeros((1, 1, 2, 4)), label, label != 255).round(2).ravel()
    Array([1.39, 0.  ], dtype=float32)
    """
    logs = jax.nn.log_softmax(wide(logits))
    # A comparison and no gather: it stays where its pixels are, on any devices, and fuses with the sum.
    own = label[..., None] == jnp.arange(logits.shape[-1])[None, None, None, :]
    return jnp.sum(jnp.where(own & valid[..., None], -logs, 0), axis=-1)


def mean_pixel_cross_entropy(logits, batch, ignore_label=255, average='all'):
    """The mean of `pixel_cross_entropy` over the pixels of a batch's examples, a scalar in float32 or wider.

    `average` says what the sum is divided by:

    * 'all': all pixels of the examples, ignored ones too: an image with half of its pixels ignored has half of the
      loss;
    * 'valid': the pixels that are not ignored. Without any the loss is 0.

    `batch` has label (N, H, W) and mask (N,). Raises ValueError for another average and for logits of another size.

    >>> batch = {'label': jnp.array([[[2, 255]]]), 'mask': jnp.ones(1)}
    >>> [round(float(mean_pixel_cross_entropy(jnp.zeros((1, 1, 2, 4)), batch, average=a)), 4) for a in AVERAGES]
    [0.6931, 1.3863]

    Source: mmsegmentation's `CrossEntropyLoss`: its `avg_non_ignore=False`, the default, is 'all', and True 'valid'.
    """
    label, mask = batch['label'], batch['mask']
    if average not in AVERAGES:
        raise ValueError(f'average must be one of {AVERAGES}, got {average!r}')
    if logits.shape[:-1] != label.shape:
        raise ValueError(f'logits must have the shape {(*label.shape, "classes")}, as the labels, got {logits.shape}')
    valid = counted(label, mask, ignore_label)
    each = pixel_cross_entropy(logits, label, valid)
    if average == 'all':
        count = jnp.sum(mask.astype(each.dtype)) * (label.shape[1] * label.shape[2])
    else:
        count = jnp.maximum(jnp.sum(valid.astype(each.dtype)), 1)
    return jnp.sum(each) / count
