"""What a saliency network minimises: binary cross-entropy and the enhanced loss of every image."""

import jax
import jax.numpy as jnp

from flax_dynconv.training.losses import wide
from flax_dynconv.training.masked import per_example
from flax_dynconv.training.saliency.enhanced_loss import enhanced_loss

LEAST_LOGARITHM = -100.0
LEAST_VARIANCE = 1e-12


def binary_cross_entropy(outputs, mask, from_logits=False):
    """-(g log p + (1 - g) log(1 - p)), the mean over the pixels of each image: (N,), in float32 or wider.

    outputs (N, ...) are probabilities p, or with `from_logits` z of p = sigmoid(z), of which no precision is lost where
    p is nearly 0 or 1. mask g (N, ...) of the same shape, from 0 to 1, of any dtype. Logarithms of probabilities are
    -100 at least, and the gradient is (p - g) / max(p (1 - p), 1e-12), finite at 0 and 1 too.

    Raises ValueError for arrays of different shapes.

    >>> binary_cross_entropy(jnp.array([[0.5, 0.0]]), jnp.array([[1, 1]])).round().tolist()
    [50.0]

    Source: PyTorch's `BCELoss` and `BCEWithLogitsLoss`.
    """
    if outputs.shape != mask.shape:
        raise ValueError(f'outputs and mask must have the same shape, got {outputs.shape} and {mask.shape}')
    outputs = wide(outputs)
    mask = mask.astype(outputs.dtype)
    if from_logits:
        each = -mask * jax.nn.log_sigmoid(outputs) - (1 - mask) * jax.nn.log_sigmoid(-outputs)
    else:
        each = _of_probabilities(outputs, mask)
    return per_example(each)


def saliency_loss(outputs, mask, enhanced=1.0, from_logits=False):
    """`binary_cross_entropy` + enhanced * `enhanced_loss` of each image: (N,), in float32 or wider.

    outputs (N, H, W, C) are probabilities, or logits with `from_logits`; mask (N, H, W, C) 0 or 1. The mean over the
    images is HDFNet's loss. `enhanced=0` is cross-entropy alone.

    Raises ValueError for arrays of different shapes or with another number of axes.

    >>> saliency_loss(jnp.full((1, 8, 8, 1), 0.5), jnp.zeros((1, 8, 8, 1))).round(4)
    Array([1.1931], dtype=float32)

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020), as
    trained by lartpang/HDFNet.
    """
    loss = binary_cross_entropy(outputs, mask, from_logits)
    if not enhanced:
        return loss
    pred = jax.nn.sigmoid(wide(outputs)) if from_logits else outputs
    return loss + enhanced * enhanced_loss(pred, mask)


@jax.custom_jvp
def _of_probabilities(p, g):
    log_p, log_q = _logarithms(p)
    return -(g * log_p + (1 - g) * log_q)


@_of_probabilities.defjvp
def _derivative(primals, tangents):
    (p, g), (dp, dg) = primals, tangents
    log_p, log_q = _logarithms(p)
    # Of the clipped logarithms it would be 0 at p = 0 and 1, where the loss is largest.
    slope = (p - g) / jnp.maximum(p * (1 - p), LEAST_VARIANCE)
    return _of_probabilities(p, g), slope * dp + (log_q - log_p) * dg


def _logarithms(p):
    return jnp.maximum(jnp.log(p), LEAST_LOGARITHM), jnp.maximum(jnp.log1p(-p), LEAST_LOGARITHM)
