"""The kernels that a network makes for every position, for looking at."""

import jax
from flax import linen as nn
from flax import traverse_util


def dynamic_kernels(model: nn.Module, variables, *inputs, **kwargs) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`model.apply(variables, *inputs, **kwargs)`, and the kernels (B, h, w, 3, 3, C) of every `DepthDC` inside.

    They are named by the path of their module, such as 'selfdc_4/branch_1' of an `HDFNet`; in float32 or wider.

    >>> import jax.numpy as jnp
    >>> from flax_dynconv.layers import DepthDC
    >>> layer, x, y = DepthDC(4), jnp.ones((1, 5, 5, 2)), jnp.ones((1, 5, 5, 4))
    >>> result, kernels = dynamic_kernels(layer, layer.init(jax.random.key(0), x, y), x, y)
    >>> result.shape, {path: k.shape for path, k in kernels.items()}
    ((1, 5, 5, 4), {'': (1, 5, 5, 3, 3, 2)})
    """
    result, sown = model.apply(variables, *inputs, mutable=['intermediates'], **kwargs)
    flat = traverse_util.flatten_dict(sown.get('intermediates', {}))
    return result, {'/'.join(path[:-1]): values[-1] for path, values in flat.items() if path[-1] == 'kernels'}
