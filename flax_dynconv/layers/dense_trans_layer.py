"""HDFNet (Pang et al., ECCV 2020): the fusion of image and depth features into guidance for dynamic filters."""

from flax import linen as nn

from flax_dynconv.layers._dense_base import DenseBase
from flax_dynconv.layers.dense_layer import DenseLayer


class DenseTransLayer(DenseBase):
    """y = fuse_main(u + DenseLayer(u)), u = fuse_down_mul(x + depth).

    Both `fuse` are 3x3 convolutions with norm and activation; all but the last keep the C channels of the inputs. The
    dense layer has `down_factor` C // features (1, where there are fewer channels than features) and four blocks.

    Shapes: x and depth (B, H, W, C) to (B, H, W, features). Dtypes: `nn.Conv`'s rule.

    Attributes:
      features: channels of the result.
      norm, act, dtype, param_dtype, precision: see `DenseLayer`.

    Raises ValueError for inputs that are not (B, H, W, C) or differ in shape, and for features below 1.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = DenseTransLayer(4), jnp.ones((2, 6, 6, 16))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x, x)
    >>> y.shape, sorted(variables['params'])
    ((2, 6, 6, 4), ['fuse_down_mul', 'fuse_main', 'res_main'])

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); equal
    to `DenseTransLayer` of lartpang/HDFNet, its initialisation too.
    """

    features: int

    @nn.compact
    def __call__(self, x, depth):
        """Two maps (B, H, W, C) to (B, H, W, features)."""
        x, depth = self.inputs(x=x, depth=depth)
        self.require(features=self.features)
        channels = x.shape[-1]
        if depth.shape[-1] != channels:
            raise ValueError(f'depth: expected the {channels} channels of x, got {depth.shape[-1]}')
        x = self.block(channels, 'fuse_down_mul')(x + depth)
        factor = max(1, channels // self.features)
        x = x + DenseLayer(channels, factor, name='res_main', **self.settings())(x)
        return self.block(self.features, 'fuse_main')(x)
