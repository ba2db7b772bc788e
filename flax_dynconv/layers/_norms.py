"""The norm of a layer that has one: what its field `norm` makes, or a batch norm that follows the collections."""

from typing import Any

from flax import linen as nn

from flax_dynconv.layers.batch_norm import BatchNorm


def norm_of(module: nn.Module, dtype: Any, name: str) -> nn.Module:
    """`module.norm(name=...)`; for None a BatchNorm (momentum 0.9, epsilon 1e-5) in `dtype`.

    That one uses and updates batch statistics exactly when 'batch_stats' is mutable.
    """
    if module.norm is not None:
        return module.norm(name=name)
    averages = not module.is_mutable_collection('batch_stats')
    settings = {'momentum': 0.9, 'epsilon': 1e-5, 'dtype': dtype, 'param_dtype': module.param_dtype}
    return BatchNorm(use_running_average=averages, name=name, **settings)
