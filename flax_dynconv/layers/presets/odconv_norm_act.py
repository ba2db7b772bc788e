"""The convolution block of the YOLO family with an ODConv in it: convolution, batch norm, SiLU."""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from flax_dynconv.layers._conv_fields import ConvFields, PaddingLike
from flax_dynconv.layers._norms import norm_of
from flax_dynconv.layers._odconv_routing import ODConvAttention
from flax_dynconv.layers._routing import kaiming_fan_out
from flax_dynconv.layers.odconv import ODConv
from flax_dynconv.ops import Autotune


class ODConvNormAct(ConvFields, kw_only=True):
    """ODConv, norm and activation in one: y = act(norm(odconv(x))).

    The fields are those of `ODConv` with other defaults: K = 1, no bias, and padding None, which is kernel_size // 2
    on both sides whatever the dilation. With a 1x1 kernel and K = 1 all samples share the static kernel.

    Shapes: x (*batch, *spatial, Cin) to y (*batch, *out_spatial, features). Dtypes: `nn.Conv`'s rule for y.

    Attributes (after those of `nn.Conv`, keyword only):
      act: the activation; None: identity.
      norm: makes both norms, of the attention and after the convolution, called with their names; None: batch norms
        (momentum 0.9, epsilon 1e-5, unbiased running variances) that use and update batch statistics exactly when
        'batch_stats' is mutable.
      num_kernels, reduction, min_hidden, router, padding_mode, implementation: as in `ODConv`.

    Raises ValueError as `ODConv`.

    >>> import jax, jax.numpy as jnp
    >>> block, x = ODConvNormAct(12, (3, 3), num_kernels=4), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(block.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params']['bn'])
    {'bias': (12,), 'scale': (12,)}
    >>> sorted(variables['params']['conv'])
    ['kernel', 'routing']
    >>> y.shape
    (2, 6, 6, 12)

    Source: equal to the `ODConv2d(in_planes, out_planes, k, s, p, g, act, d, reduction, kernel_num)` of YOLO forks.
    """

    padding: PaddingLike | None = dataclasses.field(default=None, kw_only=False)
    use_bias: bool = dataclasses.field(default=False, kw_only=False)
    kernel_init: Callable[..., Any] = dataclasses.field(default=kaiming_fan_out, kw_only=False)
    act: Callable[..., Any] | None = nn.silu
    norm: Callable[..., Any] | None = None
    num_kernels: int = 1
    reduction: float = 1 / 16
    min_hidden: int = 16
    router: Callable[..., Any] | None = None
    padding_mode: str = 'zeros'
    implementation: str | Autotune | None = None

    @nn.compact
    def __call__(self, x, routing: ODConvAttention | None = None):
        """Convolve, normalise and activate x; `routing` as in `ODConv`."""
        size = self.kernel_shape
        own = ('act', 'padding', 'parent', 'name')
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in own}
        padding = tuple((k // 2, k // 2) for k in size) if self.padding is None else self.padding
        y = ODConv(**fields, padding=padding, name='conv')(x, routing)
        y = norm_of(self, y.dtype, 'bn')(y).astype(y.dtype)
        return y if self.act is None else self.act(y)
