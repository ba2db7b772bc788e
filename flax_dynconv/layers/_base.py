"""The base of the mixing layers: parameters, routing, batch axes, dtypes, the operator's call and the cost."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from flax_dynconv.layers._arrays import add_bias, flatten_batch, restore_batch, stacked
from flax_dynconv.layers._conv_fields import ConvFields
from flax_dynconv.ops import Autotune, mixture_conv
from flax_dynconv.ops._checks import check_ints


class MixingConv(ConvFields, kw_only=True):
    """A convolution whose kernel is a mixture of `num_kernels` ones, mixed for every sample by its routing.

    A subclass declares its routing's weights, its bias and its call; what is here knows no paper.
    """

    num_kernels: int = 4
    router: Callable[..., Any] | None = None
    padding_mode: str = 'zeros'
    implementation: str | Autotune | None = None

    def split_batch(self, x):
        """(*batch, *spatial, C) as (B, *spatial, C), and the batch axes: none, one or several, as in `nn.Conv`."""
        x = jnp.asarray(x)
        self.check_input(x)
        check_ints(num_kernels=self.num_kernels)
        batch = x.shape[: x.ndim - len(self.kernel_shape) - 1]
        return flatten_batch(x, batch), batch

    def declare_kernel(self, x):
        """The parameter (K, *kernel_size, Cin/g, Cout), every kernel drawn on its own by `kernel_init`."""
        shape = (*self.kernel_shape, x.shape[-1] // self.feature_group_count, self.features)
        return self.param('kernel', stacked(self.kernel_init, self.num_kernels), shape, self.param_dtype)

    def declare_bias(self):
        """The static bias (Cout,), or None."""
        if not self.use_bias:
            return None
        return self.param('bias', self.bias_init, (self.features,), self.param_dtype)

    def declare_bias_bank(self):
        """The biases (K, Cout) of all kernels, or None."""
        if not self.use_bias:
            return None
        return self.param('bias', stacked(self.bias_init, self.num_kernels), (self.features,), self.param_dtype)

    def routing_module(self, default, **settings):
        """The submodule `routing`: the paper's, or what `router` makes of the same arguments."""
        make = default if self.router is None else self.router
        dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'precision': self.precision}
        return make(num_kernels=self.num_kernels, name='routing', **dtypes, **settings)

    def kernel_weights(self, x, batch, routing, default, shape, **settings):
        """The weights (B, *shape) of the kernels, given with the batch axes or computed by the routing module; sown."""
        layout = '(*batch, K)' if len(shape) == 1 else '(*batch, K, Cout)'
        if routing is None:
            made = self.routing_module(default, **settings)(x)
            weights = self.check_routing(made, x.shape[:1], shape, layout, name='output of router')
        else:
            weights = self.check_routing(routing, batch, shape, layout)
        self.sow_attention(batch, kernel=weights)
        return weights

    def check_routing(self, array, batch, shape, layout, name='routing'):
        """A routing array (*batch, *shape) of any real dtype as (B, *shape), at least in float32; or ValueError."""
        array = jnp.asarray(array)
        array = array.astype(jnp.promote_types(array.dtype, jnp.float32))
        if array.ndim != len(batch) + len(shape) or array.shape[len(batch) :] != shape:
            raise ValueError(f'{name}: expected shape {layout} = {(*batch, *shape)}, got {array.shape}')
        if array.shape[: len(batch)] != batch:
            raise ValueError(f'{name}: expected the batch axes {batch} of x, got shape {array.shape}')
        return flatten_batch(array, batch)

    def sow_attention(self, batch, **attentions):
        """Show attentions (B, ...) to whoever makes 'intermediates' mutable, with the batch axes of the input."""
        for name, array in attentions.items():
            if array is not None:
                self.sow('intermediates', f'attention_{name}', restore_batch(array, batch))

    def convolve(self, x, batch, kernel, bias, weights, **settings):
        """Mix, convolve and add the bias, static (Cout,) or a bank (K, Cout) mixed by the same weights (B, K).

        `settings` are further keyword arguments of `ops.mixture_conv`, which override those that come from fields.
        """
        arrays = [a for a in (x, kernel, bias) if a is not None]
        # nn.Conv's rule: `dtype`, else what x and the parameters promote to, integers to a floating dtype.
        x = x.astype(nn.dtypes.canonicalize_dtype(*arrays, dtype=self.dtype))
        y = mixture_conv(x, kernel, weights, **(self.operator_settings() | settings))
        if bias is not None and bias.ndim == 2:
            # Mixed like the kernels: at least in float32 and in the computation dtype, at full precision.
            acc = jnp.promote_types(x.dtype, jnp.float32)
            bias = jnp.matmul(weights.astype(acc), bias.astype(acc), precision=lax.Precision.HIGHEST)
        return restore_batch(add_bias(y, bias), batch)

    def operator_settings(self):
        """The keyword arguments of `ops.mixture_conv` that come from fields; None means 1, as in `nn.Conv`."""
        return {
            'strides': 1 if self.strides is None else self.strides,
            'padding': self.padding,
            'padding_mode': self.padding_mode,
            'input_dilation': 1 if self.input_dilation is None else self.input_dilation,
            'kernel_dilation': 1 if self.kernel_dilation is None else self.kernel_dilation,
            'feature_group_count': self.feature_group_count,
            'precision': self.precision,
            'implementation': self.implementation,
        }

    def multiply_adds(self, x_shape: Sequence[int], y_shape: Sequence[int]) -> int:
        """Multiply-adds per sample of the convolution H'W'P and of mixing K*P, without those of the submodules.

        P = prod(kernel_size) * Cin/g * Cout. The numbers follow the definition and no implementation.
        """
        weights = math.prod(self.kernel_shape) * (x_shape[-1] // self.feature_group_count) * self.features
        return math.prod(y_shape[-1 - len(self.kernel_shape) : -1]) * weights + self.num_kernels * weights
