"""Dynamic Filter Networks (De Brabandere et al., NIPS 2016): one filter for every sample."""

import jax.numpy as jnp

from flax_dynconv.layers._filtering import Filtering
from flax_dynconv.ops import per_sample_conv


class DynamicFiltering(Filtering):
    """The dynamic convolution layer: filters that a network computed for a sample, applied to all of its positions.

    y[b, p, o] = sum_c sum_t F[b, (o C + c) T + t] (x[b, p + t - k // 2, c] + bias[b])      (channels='sum')

    y[b, p, c] = sum_t F[b, t] (x[b, p + t - k // 2, c] + bias[b])                          (channels='shared')

    y[b, p, c] = sum_t F[b, c T + t] (x[b, p + t - k // 2, c] + bias[b])                    (channels='own')

    T = prod(kernel_size) taps in row-major order; a cross-correlation; x is 0 outside of the image, bias or not.

    Shapes: x (B, *spatial, C), 1 to 3 spatial dimensions, and filters (B, N) to y (B, *spatial, features) where
    channels are summed, else (B, *spatial, C). Dtypes: `dtype`, else what x and filters promote to, integers to a
    floating one; a softmax is taken in promote_types(dtype, float32). No parameters.

    Attributes (after the first keyword only):
      kernel_size: odd; an int means one spatial dimension, as in `nn.Conv`.
      channels: 'sum' adds up all channels, with a filter for each; 'shared' filters each with the same taps; 'own'
        filters each with its own.
      features: outputs of 'sum', each with filters of its own.
      softmax: the taps of each output become >= 0 with the sum 1, those of 'sum' over the channels too: every output
        is a weighted mean. False: the taps as they are.
      bias: the last of the N channels is added to the input, before the filter.
      implementation, precision: as in `ops.per_sample_conv`.

    `filter_channels(C)` is N; `taps(filters, C)` are the taps as they are applied.

    Raises ValueError for an even kernel_size, shapes that do not fit and a wrong number of filter channels.

    >>> import jax.numpy as jnp
    >>> layer, x = DynamicFiltering((3, 3), channels='shared', softmax=True), jnp.ones((2, 6, 6, 4))
    >>> layer.filter_channels(4)
    9
    >>> y = layer.apply({}, x, jnp.zeros((2, 9)))
    >>> y.shape, round(float(y[0, 3, 3, 0]), 6), round(float(y[0, 0, 0, 0]), 6)
    ((2, 6, 6, 4), 1.0, 0.444444)

    Source: section 3 of arXiv:1605.09673; order of taps, padding and bias as the authors' Lasagne code, whose
    'grouping' is 'shared' for three channels.
    """

    def __call__(self, x, filters):
        """x (B, *spatial, C) and filters (B, N) to (B, *spatial, features or C)."""
        x, filters = self._inputs(x, filters, per_position=False)
        kernel, groups = self._kernels(filters, x.shape[-1]), 1
        if not self._sums(x.shape[-1]):
            groups = x.shape[-1]
            kernel = jnp.broadcast_to(kernel[..., None, :], (*kernel.shape[:-1], 1, groups))
        return per_sample_conv(
            x,
            kernel,
            padding=self.padding,
            feature_group_count=groups,
            precision=self.precision,
            implementation=self.implementation,
        )
