"""What ODConv and its variants share: checking given attentions, applying the four of them, and the cost."""

import math

import jax.numpy as jnp

from flax_dynconv.layers._base import MixingConv
from flax_dynconv.layers._odconv_routing import ODConvAttention


class AttendedConv(MixingConv, kw_only=True):
    """y[b] = f[b] * conv(c[b] * x[b], s[b] * sum_k w[b,k] W[k]) + bias, from attentions that a subclass computes."""

    def convolve_attended(self, x, batch, kernel, bias, attention):
        """x (B, *spatial, Cin) and attentions (B, ...) to y with its batch axes; sows the attentions."""
        self.sow_attention(batch, **attention._asdict())
        settings = {
            'input_scale': attention.channel,
            'output_scale': attention.filter,
            'tap_scale': attention.spatial,
        }
        weights = attention.kernel
        if weights is None:
            weights = jnp.ones((x.shape[0], 1), jnp.float32)
            if attention.spatial is None and self.implementation is None:
                # One kernel for all samples and taps: the static convolution of the scaled input.
                settings['implementation'] = 'features_out'
        return self.convolve(x, batch, kernel, bias, weights, **settings)

    def check_attention(self, routing, batch, channels) -> ODConvAttention:
        """Attentions that were given, with the batch axes of x, as (B, ...)."""
        if not isinstance(routing, tuple) or len(routing) != len(ODConvAttention._fields):
            raise ValueError(
                f'routing: expected an ODConvAttention(channel, filter, spatial, kernel), got {type(routing).__name__}'
            )
        given = ODConvAttention(*routing)
        if given.kernel is None and self.num_kernels > 1:
            raise ValueError(f'routing.kernel: expected shape (*batch, K) = {(*batch, self.num_kernels)}, got None')
        shapes = {
            'channel': ((channels,), '(*batch, Cin)'),
            'filter': ((self.features,), '(*batch, Cout)'),
            'spatial': (self.kernel_shape, '(*batch, *kernel_size)'),
            'kernel': ((self.num_kernels,), '(*batch, K)'),
        }
        checked = {
            name: self.check_routing(getattr(given, name), batch, *shapes[name], name=f'routing.{name}')
            for name in shapes
            if getattr(given, name) is not None
        }
        return ODConvAttention(**checked)

    def skipped(self, channels) -> set:
        """Names of the attentions that the layer has not, for an input of so many channels."""
        return set()

    def multiply_adds(self, x_shape, y_shape) -> int:
        """Multiply-adds per sample, without those of the submodules: convolution H'W'P, mixing K*P, and scaling.

        Scaled are the input by c, the output by f and, as the paper's equation has it, the P weights of each of the K
        kernels by s. P = prod(kernel_size) * Cin/g * Cout. What is skipped costs nothing.
        """
        rank, skipped = len(self.kernel_shape), self.skipped(x_shape[-1])
        weights = math.prod(self.kernel_shape) * (x_shape[-1] // self.feature_group_count) * self.features
        costs = {
            'channel': math.prod(x_shape[-1 - rank :]),
            'filter': math.prod(y_shape[-1 - rank :]),
            'spatial': self.num_kernels * weights,
            'kernel': self.num_kernels * weights,
        }
        total = sum(cost for name, cost in costs.items() if name not in skipped)
        return math.prod(y_shape[-1 - rank : -1]) * weights + total
