"""HDFNet (Pang et al., ECCV 2020): a densely connected layer of which the last features join the input."""

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._dense_base import DenseBase


class DenseLayer(DenseBase):
    """y = fuse([x, f_k]), f_i = block_i([f_1, .., f_{i-1}, d]), d = down(x).

    `down` is a 1x1 convolution with a bias to m = features // down_factor channels and nothing after it; `block_i` and
    `fuse` are 3x3 convolutions with norm and activation, to m channels and to `features`. Of f_1 .. f_k the last alone
    is an input of `fuse`.

    Shapes: x (B, H, W, Cin) to (B, H, W, features). Dtypes: `nn.Conv`'s rule.

    Attributes:
      features: channels of the result.
      down_factor: see above; not above `features`.
      num_blocks: k.
      norm: makes each norm, called with its name; None: BatchNorms (momentum 0.9, epsilon 1e-5, unbiased running
        variances) that use and update batch statistics exactly when 'batch_stats' is mutable.
      act: the activation.
      dtype, param_dtype, precision: as in `nn.Conv`.

    Raises ValueError for an input that is not (B, H, W, C), numbers below 1 and a down_factor above `features`.

    >>> import jax
    >>> layer, x = DenseLayer(8, num_blocks=2), jnp.ones((2, 6, 6, 5))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> y.shape, sorted(variables['params'])
    ((2, 6, 6, 8), ['denseblock_0', 'denseblock_1', 'down', 'fuse'])
    >>> variables['params']['denseblock_1']['conv']['kernel'].shape, variables['params']['fuse']['conv']['kernel'].shape
    ((3, 3, 4, 2), (3, 3, 7, 8))

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); equal
    to `DenseLayer` of lartpang/HDFNet, its initialisation too.
    """

    features: int
    down_factor: int = 4
    num_blocks: int = 4

    @nn.compact
    def __call__(self, x):
        """(B, H, W, Cin) to (B, H, W, features)."""
        (x,) = self.inputs(x=x)
        self.require(features=self.features, down_factor=self.down_factor, num_blocks=self.num_blocks)
        width = self.features // self.down_factor
        if not width:
            raise ValueError(f'down_factor: expected at most features = {self.features}, got {self.down_factor}')
        down, blocks = self.conv(x, width, 1, 'down'), []
        for i in range(self.num_blocks):
            blocks.append(self.block(width, f'denseblock_{i}')(jnp.concatenate([*blocks, down], axis=-1)))
        return self.block(self.features, 'fuse')(jnp.concatenate([x, blocks[-1]], axis=-1))
