"""y[b, p] = sum_t k[b, p, t] x[b, p + t]."""

from flax_dynconv.ops.per_position_conv.api import IMPLEMENTATIONS, per_position_conv

__all__ = ['IMPLEMENTATIONS', 'per_position_conv']
