"""y[b] = conv(x[b], w[b])."""

from flax_dynconv.ops.per_sample_conv.api import IMPLEMENTATIONS, per_sample_conv

__all__ = ['IMPLEMENTATIONS', 'per_sample_conv']
