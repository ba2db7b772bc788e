"""Dynamic Filter Networks (De Brabandere et al., NIPS 2016): one filter for every position of every sample."""

from flax_dynconv.layers._filtering import Filtering
from flax_dynconv.ops import per_position_conv


class LocalFiltering(Filtering):
    """The dynamic local filtering layer: every position of every sample has filters that a network computed for it.

    y[b, p, o] = sum_c sum_t F[b, p, (o C + c) T + t] z[b, p + t - k // 2, c]      (channels='sum')

    y[b, p, c] = sum_t F[b, p, t] z[b, p + t - k // 2, c]                          (channels='shared')

    y[b, p, c] = sum_t F[b, p, c T + t] z[b, p + t - k // 2, c]                    (channels='own')

    z[b, q, c] = x[b, q, c] + bias[b, q] inside the image and 0 outside: the bias is the last filter channel, and it
    moves with the pixels.

    Shapes: x (B, *spatial, C), 1 to 3 spatial dimensions, and filters (B, *spatial, N) to y (B, *spatial, features)
    where channels are summed, else (B, *spatial, C). Dtypes, attributes, methods and errors as `DynamicFiltering`;
    the operator is `ops.per_position_conv`. With `softmax` and no bias an image in [0, 1] gives one in [0, 1].

    >>> import jax, jax.numpy as jnp
    >>> layer, x = LocalFiltering((1, 13), softmax=True, bias=True), jnp.ones((2, 4, 16, 1))
    >>> layer.filter_channels(1)
    14
    >>> y = layer.apply({}, x, jnp.zeros((2, 4, 16, 14)))
    >>> y.shape, round(float(y[0, 0, 8, 0]), 6), round(float(y[0, 0, 0, 0] * 13), 5)
    ((2, 4, 16, 1), 1.0, 7.0)

    Source: section 3 of arXiv:1605.09673; order of taps, padding and bias as the authors' Lasagne code, which
    convolves x with an identity matrix to get the windows.
    """

    def __call__(self, x, filters):
        """x (B, *spatial, C) and filters (B, *spatial, N) to (B, *spatial, features or C)."""
        x, filters = self._inputs(x, filters, per_position=True)
        kernels = self._kernels(filters, x.shape[-1])
        return per_position_conv(
            x, kernels, padding=self.padding, precision=self.precision, implementation=self.implementation
        )
