"""HDFNet (Pang et al., ECCV 2020): filtering with a kernel for every position and channel, made from guidance."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from flax_dynconv.layers._dense_base import DenseBase, size_of
from flax_dynconv.layers.dense_layer import DenseLayer
from flax_dynconv.ops import Autotune, per_position_conv

_TAPS = 9


class DepthDC(DenseBase):
    """A 3x3 depthwise filter for every position, from another map, and a static convolution of what it gives.

    K = generate(y): a 3x3 convolution with a bias, a `DenseLayer`, a 1x1 convolution with a bias to 9 C channels, of
    which c * 9 + 3 p + q is tap (p, q) of channel c; unnormalised;
    r[b,i,j,c] = sum_pq K[b,i,j,p,q,c] x[b, i + (p - 1) d, j + (q - 1) d, c], zeros outside, d the dilation;
    the result is a 3x3 convolution of r with a bias, without norm and activation.

    Shapes: x (B, H, W, C) and the guidance y (B, H, W, Cy) to (B, H, W, features); K (B, H, W, 3, 3, C), sown as
    'kernels' into 'intermediates'. Dtypes: `nn.Conv`'s rule for the result; the 1x1 convolution that makes the taps
    and the sum over them in promote_types(dtype, float32). The windows of x are never unfolded into an array.

    Attributes:
      features: channels of the result.
      dilation: d.
      num_blocks: those of the `DenseLayer` in the generator.
      implementation: form of `ops.per_position_conv`, None to choose, an `ops.Autotune` to measure.
      norm, act, dtype, param_dtype, precision: see `DenseLayer`.

    Raises ValueError for inputs that are not (B, H, W, C) or differ in size, guidance of less than four channels, and
    numbers below 1.

    >>> import jax
    >>> layer, x, y = DepthDC(6, dilation=3), jnp.ones((2, 8, 7, 4)), jnp.ones((2, 8, 7, 8))
    >>> z, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x, y)
    >>> z.shape, variables['params']['generate_kernel_2']['kernel'].shape
    ((2, 8, 7, 6), (1, 1, 8, 36))

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); equal
    to `DepthDC3x3_1`, `DepthDC3x3_3` and `DepthDC3x3_5` of lartpang/HDFNet, their initialisation too.
    """

    features: int
    dilation: int = 1
    num_blocks: int = 4
    implementation: str | Autotune | None = None

    @nn.compact
    def __call__(self, x, y):
        """x (B, H, W, C), filtered by kernels from y (B, H, W, Cy), to (B, H, W, features)."""
        x, y = self.inputs(x=x, y=y)
        self.require(features=self.features, dilation=self.dilation, num_blocks=self.num_blocks)
        if y.shape[-1] < 4:
            raise ValueError(f'y: expected guidance of at least 4 channels, got shape {y.shape}')
        kernels = self._kernels(y, x.shape[-1])
        self.sow('intermediates', 'kernels', kernels)
        filtered = per_position_conv(
            x,
            kernels,
            padding=((self.dilation, self.dilation),) * 2,
            kernel_dilation=self.dilation,
            precision=self.precision,
            preferred_element_type=kernels.dtype,
            implementation=self.implementation,
        )
        return self.conv(filtered.astype(x.dtype), self.features, 3, 'fuse')

    def _kernels(self, y, channels):
        """The kernels (B, H, W, 3, 3, channels) of all positions, the taps themselves never below float32."""
        z = self.conv(y, y.shape[-1], 3, 'generate_kernel_0')
        z = DenseLayer(y.shape[-1], num_blocks=self.num_blocks, name='generate_kernel_1', **self.settings())(z)
        precision = lax.Precision.HIGHEST if self.precision is None else self.precision
        wide = jnp.promote_types(z.dtype, jnp.float32)
        taps = self.conv(z, _TAPS * channels, 1, 'generate_kernel_2', dtype=wide, precision=precision)
        taps = jnp.reshape(taps, (*taps.shape[:3], channels, 3, 3))
        return jnp.moveaxis(taps, 3, -1)

    def multiply_adds(self, x_shape, y_shape) -> int:
        """Multiply-adds per sample of the filtering, 9 H W C, without those of the submodules."""
        return _TAPS * size_of(x_shape) * x_shape[-1]
