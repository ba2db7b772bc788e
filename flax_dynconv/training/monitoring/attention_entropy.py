"""How evenly the dynamic layers of a network use their kernels, as one number."""

import jax
import jax.numpy as jnp


def attention_entropy(intermediates):
    """Mean entropy of the kernel attention, in nats; None without a layer that has more than one kernel.

        p_k = a_k / sum_j a_j,    H = - sum_k p_k log p_k

    for every sample (and, where attention is given per output channel, every channel), averaged over these and then
    over the layers. H lies between 0 (each sample takes one kernel) and log K (all samples take all kernels alike).
    Sigmoid attention (CondConv, DyNet) does not sum to 1 and is normalised first; one that is zero throughout counts
    as even.

    Args:
        intermediates: what `model.apply(..., mutable=['intermediates'])` returned, or its collection: every
            `attention_kernel` in it, (B, K) or (B, K, Cout), of values >= 0, is taken.

    Returns a scalar in float32 or wider, through which no gradient flows. Under a mesh that divides the batch the
    only communication is the sum of the mean.

    >>> even = jnp.full((2, 4), 0.25)
    >>> print(f"{attention_entropy({'conv': {'attention_kernel': (even,)}}):.4f}")
    1.3863
    """
    leaves, _ = jax.tree.flatten_with_path(intermediates)
    attentions = [value for path, value in leaves if _name(path) == 'attention_kernel' and value.shape[1] > 1]
    return jnp.stack([_mean_entropy(a) for a in attentions]).mean() if attentions else None


def _name(path):
    # The last name: behind it comes the position in the tuple that `sow` keeps.
    return next((key.key for key in reversed(path) if isinstance(key, jax.tree_util.DictKey)), None)


def _mean_entropy(attention):
    attention = jax.lax.stop_gradient(attention)
    attention = attention.astype(jnp.promote_types(attention.dtype, jnp.float32))
    total = attention.sum(axis=1, keepdims=True)
    share = jnp.where(total > 0, attention / jnp.where(total > 0, total, 1), 1 / attention.shape[1])
    return jax.scipy.special.entr(share).sum(axis=1).mean()
