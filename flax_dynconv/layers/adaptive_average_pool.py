"""Average pooling to a given size, with PyTorch's bins."""

import jax
import numpy as np

from flax_dynconv.layers._resample import resample


def adaptive_average_pool(x: jax.Array, size) -> jax.Array:
    """The means of x over `size` bins along height and width, whatever x's own size.

    Bin i of k along an axis of n pixels covers floor(i n / k) .. ceil((i + 1) n / k) - 1: bins overlap where k does not
    divide n, and repeat pixels where n < k.

    x (B, H, W, C), any real dtype; `size` k, or (k, k'); the result (B, k, k', C) in promote_types(x.dtype, float32).
    Two products with static matrices: batch and channels may be sharded, the batch may be symbolic.

    Raises ValueError for another rank, a height or width that is 0 or unknown at tracing, and a size below 1.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(5.0).reshape(1, 5, 1, 1)
    >>> adaptive_average_pool(x, (2, 1)).ravel()  # of 0 1 2 and of 2 3 4
    Array([1., 3.], dtype=float32)

    Source: equal to `torch.nn.functional.adaptive_avg_pool2d`.
    """
    return resample(x, size, _means)


def _means(length, bins):
    """(bins, length): row i has the mean of bin i."""
    matrix = np.zeros((bins, length))
    for i in range(bins):
        start, stop = i * length // bins, -(-(i + 1) * length // bins)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix
