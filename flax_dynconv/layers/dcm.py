"""DMNet (He, Deng, Qiao, ICCV 2019): the dynamic convolutional module, whose filter is the pooled input."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from flax_dynconv.layers._norms import norm_of
from flax_dynconv.layers._torch_init import torch_bias, torch_kernel
from flax_dynconv.layers.adaptive_average_pool import adaptive_average_pool
from flax_dynconv.layers.conv_norm_act import ConvNormAct
from flax_dynconv.ops import Autotune, per_sample_conv
from flax_dynconv.ops._checks import check_ints


class DCM(nn.Module):
    """Dynamic convolutional module: z = act(norm(y)), y[b] = depthwise_conv(r[b], f[b]) with a filter from x itself.

    f = W pool_k(x) + w, a 1x1 convolution of x averaged over k x k bins, unnormalised;
    r = act(norm(V x)), x reduced to the channels of f;
    y[b,i,j,c] = sum_pq f[b,p,q,c] r[b, i + p - k // 2, j + q - k // 2, c], zeros outside: for an even k there is one
    more of them above and on the left than below and on the right. With `fusion`, act(norm(U z)) follows. For k = 1
    the filter is a scale of each channel by its global mean.

    Shapes: x (B, H, W, Cin) to (B, H, W, features); the filters (B, k, k, features). Dtypes: `nn.Conv`'s rule for the
    result. Pooling and the projection that makes the filters are in promote_types(dtype, float32); `per_sample_conv`
    then rounds the filters to the dtype of r, as it does every kernel, and the sum over taps and the norm after it are
    in promote_types(dtype, float32) again. So in bfloat16 the filters that are applied have 8 bits.

    Attributes:
      features: channels of filters and result.
      filter_size: k.
      fusion: whether a further 1x1 convolution with norm and activation mixes the channels.
      norm: makes each norm, called with its name; None: BatchNorms (momentum 0.9, epsilon 1e-5, unbiased running
        variances) that use and update batch statistics exactly when 'batch_stats' is mutable.
      act: the activation.
      dtype, param_dtype, precision: as in `nn.Conv`.
      implementation: form of `ops.per_sample_conv`, None to choose, an `ops.Autotune` to measure.

    Raises ValueError for an input that is not (B, H, W, C), and for features or a filter_size below 1.

    >>> import jax
    >>> layer, x = DCM(6, 3), jnp.ones((2, 9, 8, 12))
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params']['filter_gen_conv'])
    {'bias': (6,), 'kernel': (1, 1, 12, 6)}
    >>> sorted(variables['params'])
    ['filter_gen_conv', 'input_redu_conv', 'norm']
    >>> y.shape
    (2, 9, 8, 6)

    Source: He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation" (ICCV 2019); equal to `DCM` of
    Junjun2016/DMNet and of mmsegmentation's `dm_head.py`.
    """

    features: int
    filter_size: int
    fusion: bool = False
    norm: Callable[..., Any] | None = None
    act: Callable[..., Any] = nn.relu
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    implementation: str | Autotune | None = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, Cin) to (B, H, W, features)."""
        x = jnp.asarray(x)
        self._check(x)
        x = x.astype(nn.dtypes.canonicalize_dtype(x, jnp.zeros((), self.param_dtype), dtype=self.dtype))
        filters = self._filters(x)
        k = self.filter_size
        y = per_sample_conv(
            self._pointwise('input_redu_conv')(x),
            filters[:, :, :, None, :],
            padding=((k // 2, (k - 1) // 2),) * 2,
            feature_group_count=self.features,
            precision=self.precision,
            preferred_element_type=filters.dtype,
            implementation=self.implementation,
        )
        y = self.act(norm_of(self, x.dtype, 'norm')(y).astype(x.dtype))
        return self._pointwise('fusion_conv')(y) if self.fusion else y

    def _filters(self, x):
        """The filters (B, k, k, features) of all samples, from the unreduced input and never below float32."""
        pooled = adaptive_average_pool(x, self.filter_size)
        return nn.Conv(
            self.features,
            (1, 1),
            dtype=pooled.dtype,
            param_dtype=self.param_dtype,
            precision=lax.Precision.HIGHEST if self.precision is None else self.precision,
            kernel_init=torch_kernel,
            bias_init=torch_bias(x.shape[-1]),
            name='filter_gen_conv',
        )(pooled)

    def _pointwise(self, name):
        fields = ('norm', 'act', 'dtype', 'param_dtype', 'precision')
        return ConvNormAct(self.features, (1, 1), name=name, **{field: getattr(self, field) for field in fields})

    def multiply_adds(self, x_shape, y_shape) -> int:
        """Multiply-adds per sample of the filtering, H W k**2 features, without those of the submodules."""
        return y_shape[-3] * y_shape[-2] * self.filter_size**2 * self.features

    def _check(self, x):
        if x.ndim != 4:
            raise ValueError(f'x: expected (batch, height, width, channels), got shape {x.shape}')
        check_ints(features=self.features, filter_size=self.filter_size)
