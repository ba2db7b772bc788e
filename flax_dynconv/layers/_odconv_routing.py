"""ODConv's attention: a shared bottleneck and up to four heads, for channels, filters, taps and kernels."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers._routing import Routing, kaiming_fan_out
from flax_dynconv.layers.batch_norm import BatchNorm, warn_single_value
from flax_dynconv.layers.temperature import read_temperature


class ODConvAttention(NamedTuple):
    """The four attentions of ODConv, after their activations; None: skipped, a factor of 1.

    channel (B, Cin) scales the input, filter (B, Cout) the output, spatial (B, *kernel_size) the taps of the mixed
    kernel, kernel (B, K) weighs the kernels.

    >>> import jax.numpy as jnp
    >>> ODConvAttention(channel=jnp.ones((2, 8)), kernel=jnp.full((2, 4), 0.25)).filter is None
    True
    """

    channel: jax.Array | None = None
    filter: jax.Array | None = None
    spatial: jax.Array | None = None
    kernel: jax.Array | None = None


def skipped_attentions(channels: int, features: int, groups: int, kernel_size: Sequence[int], num_kernels: int) -> set:
    """Names of the attentions that the paper's code leaves out for a convolution of these sizes."""
    skipped = {
        'filter': channels == groups == features,
        'spatial': math.prod(kernel_size) == 1,
        'kernel': num_kernels == 1,
    }
    return {name for name, skip in skipped.items() if skip}


class ODConvRouting(Routing, kw_only=True):
    """Omni-dimensional attention: h = relu(norm(mean(x) W)), then one linear head per attention.

    channel = sigmoid((h W_c + b_c) / T), filter and spatial alike, kernel = softmax((h W_w + b_w) / T). The hidden
    size is max(int(C * reduction), min_hidden). T divides the logits of all four; it is the variable 'value' of the
    collection 'temperature', 1.0 where it is absent (see `set_temperature`).

    Skipped (None, no parameters): filter where the convolution is depthwise with as many outputs as inputs, spatial
    where the kernel is 1x1, kernel where K = 1.

    x (B, *spatial, C) or pooled (B, C), any real dtype; all attentions in promote_types(dtype, float32).

    Attributes:
      features, kernel_size, feature_group_count, num_kernels: of the convolution that is routed.
      reduction, min_hidden: the hidden size.
      norm: makes the normalisation of the bottleneck, called as norm(name='norm') and applied to (B, hidden); None:
        the paper's batch norm (momentum 0.9, epsilon 1e-5, unbiased running variance), which uses and updates batch
        statistics exactly when 'batch_stats' is mutable. It sees one value per sample and channel, so a batch of 1
        trains nothing and warns; `norm=nn.LayerNorm` and `norm=NoNorm` do not mix samples at all.

    Raises ValueError for an x without a batch axis.

    >>> import jax, jax.numpy as jnp
    >>> routing, x = ODConvRouting(12, (3, 3), num_kernels=4), jnp.ones((2, 6, 6, 8))
    >>> y, variables = jax.eval_shape(routing.init_with_output, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params'])  # doctest: +NORMALIZE_WHITESPACE
    {'channel': {'bias': (8,), 'kernel': (16, 8)}, 'filter': {'bias': (12,), 'kernel': (16, 12)},
     'hidden': {'kernel': (8, 16)}, 'kernel': {'bias': (4,), 'kernel': (16, 4)},
     'norm': {'bias': (16,), 'scale': (16,)}, 'spatial': {'bias': (9,), 'kernel': (16, 9)}}
    >>> [a.shape for a in y]
    [(2, 8), (2, 12), (2, 3, 3), (2, 4)]

    Source: section 3 of arXiv:2209.07947; sizes, skips, temperature and initialisation as the authors' code.
    """

    features: int = dataclasses.field(kw_only=False)
    kernel_size: int | Sequence[int] = dataclasses.field(kw_only=False)
    feature_group_count: int = 1
    reduction: float = 1 / 16
    min_hidden: int = 16
    norm: Callable[..., Any] | None = None
    kernel_init: Callable[..., Any] = kaiming_fan_out

    @nn.compact
    def __call__(self, x) -> ODConvAttention:
        """(B, *spatial, C) or (B, C) to the four attentions."""
        size = (self.kernel_size,) if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        x = self.pool(x)
        channels = x.shape[-1]
        hidden = max(int(channels * self.reduction), self.min_hidden)
        h = self.linear(x, hidden, 'hidden', self.kernel_init, use_bias=False)
        h = nn.relu(self.normalised(h))
        temperature = read_temperature(self)

        def head(name, features, activation):
            return activation(self.linear(h, features, name, self.kernel_init) / temperature)

        skipped = skipped_attentions(channels, self.features, self.feature_group_count, size, self.num_kernels)
        spatial = None if 'spatial' in skipped else head('spatial', math.prod(size), nn.sigmoid)
        return ODConvAttention(
            channel=head('channel', channels, nn.sigmoid),
            filter=None if 'filter' in skipped else head('filter', self.features, nn.sigmoid),
            spatial=None if spatial is None else jnp.reshape(spatial, (spatial.shape[0], *size)),
            kernel=None if 'kernel' in skipped else head('kernel', self.num_kernels, nn.softmax),
        )

    def normalised(self, h):
        """h (B, hidden) normalised, in h's dtype."""
        if self.norm is None:
            averages = not self.is_mutable_collection('batch_stats')
            settings = {'momentum': 0.9, 'epsilon': 1e-5, 'param_dtype': self.param_dtype}
            return BatchNorm(use_running_average=averages, name='norm', **settings)(h)
        norm = self.norm(name='norm')
        # BatchNorm warns by itself; nn.BatchNorm, which a network may inject, does not.
        training = type(norm) is nn.BatchNorm and norm.use_running_average is False and norm.axis_name is None
        if training and not self.is_initializing() and isinstance(h.shape[0], int) and h.shape[0] == 1:
            warn_single_value()
        return norm(h).astype(h.dtype)
