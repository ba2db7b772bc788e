"""logits[b, n, p] = network_{b,n}([relative coordinates of p; features[b, p]]): a 1x1 network per instance."""

from flax_dynconv.ops.instance_head.api import IMPLEMENTATIONS, instance_head
from flax_dynconv.ops.instance_head.parameters import split_parameters

__all__ = ['IMPLEMENTATIONS', 'instance_head', 'split_parameters']
