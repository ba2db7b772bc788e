"""HDFNet (Pang et al., ECCV 2020): the dynamic dilated pyramid module, position-wise filters of several dilations."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._dense_base import DenseBase
from flax_dynconv.layers.depth_dc import DepthDC
from flax_dynconv.ops import Autotune


class DDPM(DenseBase):
    """z = fuse([r, DepthDC_1(r, y), DepthDC_3(r, y), DepthDC_5(r, y)]), r = down(x).

    `down` is a 1x1 convolution with a bias to features // 4 channels, which the branches keep; `fuse` is a 3x3
    convolution with norm and activation. The features x are filtered, the guidance y makes the filters.

    Shapes: x (B, H, W, C) and y (B, H, W, Cy) to (B, H, W, features). Dtypes: those of `DepthDC`.

    Attributes:
      features: channels of the result, at least 4.
      dilations: one branch each.
      num_blocks, implementation: see `DepthDC`.
      norm, act, dtype, param_dtype, precision: see `DenseLayer`.

    For 64 channels everywhere it has 395,104 parameters.

    Raises ValueError for inputs that are not (B, H, W, C) or differ in size, for features below 4, and for dilations
    that are not whole numbers above 0, at least one and each once.

    >>> import jax
    >>> layer, x = DDPM(64), jnp.ones((1, 8, 8, 64))
    >>> variables = jax.eval_shape(layer.init, jax.random.key(0), x, x)
    >>> sorted(variables['params']), sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    (['branch_1', 'branch_3', 'branch_5', 'down_input', 'fuse'], 395104)

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); equal
    to `DDPM` of lartpang/HDFNet, its initialisation too.
    """

    features: int
    dilations: Sequence[int] = (1, 3, 5)
    num_blocks: int = 4
    implementation: str | Autotune | None = None

    @nn.compact
    def __call__(self, x, y):
        """x (B, H, W, C), filtered by kernels from y (B, H, W, Cy), to (B, H, W, features)."""
        x, y = self.inputs(x=x, y=y)
        self.require(4, features=self.features)
        dilations = tuple(self.dilations) if isinstance(self.dilations, Sequence) else ()
        if not dilations or len(set(dilations)) < len(dilations):
            raise ValueError(f'dilations: expected different ints >= 1, at least one, got {self.dilations!r}')
        fields = {'num_blocks': self.num_blocks, 'implementation': self.implementation, **self.settings()}
        maps = [self.conv(x, self.features // 4, 1, 'down_input')]
        for dilation in dilations:
            branch = DepthDC(self.features // 4, dilation, name=f'branch_{dilation}', **fields)
            maps.append(branch(maps[0], y))
        return self.block(self.features, 'fuse')(jnp.concatenate(maps, axis=-1))
