"""y[b] = conv(x[b], sum_k a[b, k] W[k]), with optional scales."""

from flax_dynconv.ops.mixture_conv.api import IMPLEMENTATIONS, mixture_conv

__all__ = ['IMPLEMENTATIONS', 'mixture_conv']
