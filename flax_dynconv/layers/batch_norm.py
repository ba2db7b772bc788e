"""Batch normalisation whose running variances are those that PyTorch stores, and no normalisation at all."""

import math
import warnings

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from flax_dynconv.layers._inverse_root import scaled_inverse_root


class BatchNorm(nn.BatchNorm):
    """`nn.BatchNorm` whose running variance is the unbiased one, as PyTorch stores it.

    y = (x - mean) / sqrt(var + epsilon) * scale + bias, with mean and (biased) var of the batch in training, and
    running' = momentum * running + (1 - momentum) * var * n / (n - 1), n values per channel.

    Fields (but for one default), parameters and collections are those of `nn.BatchNorm`, which stores the biased
    variance: the outputs in training are equal, the running variances differ by n / (n - 1). That is much where n is
    small: a routing's norm sees one value per sample. PyTorch's `momentum=0.1` is 0.9 here. With n = 1 there is
    nothing to estimate: the batch variance 0 is stored, and the output is the bias, which a warning says (PyTorch
    refuses to train there). By running averages the factor of each channel is rounded once (PyTorch computes it in
    float64), where `nn.BatchNorm` rounds three times.

    Attributes:
      use_fast_variance: False here, so that the variance keeps its digits where the mean is large, as PyTorch's does.
      unbiased: store var * n / (n - 1) (the default); False stores what `nn.BatchNorm` does.

    >>> import jax, jax.numpy as jnp
    >>> norm = BatchNorm(use_running_average=False, momentum=0.9)
    >>> x = jnp.array([[1.0], [3.0]])
    >>> variables = norm.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables)
    {'batch_stats': {'mean': (1,), 'var': (1,)}, 'params': {'bias': (1,), 'scale': (1,)}}
    >>> y, updated = norm.apply(variables, x, mutable=['batch_stats'])
    >>> round(float(updated['batch_stats']['var'][0]), 6)  # 0.9 * 1 + 0.1 * 2, where nn.BatchNorm gives 1.0
    1.1

    Source: Ioffe & Szegedy (ICML 2015); running statistics as `torch.nn.BatchNorm2d`.
    """

    # In two passes: E[x^2] - E[x]^2 cancels where the mean is large against the deviation, as after pooling.
    use_fast_variance: bool = False
    unbiased: bool = True

    @nn.compact
    def __call__(self, x, use_running_average: bool | None = None, *, mask: jax.Array | None = None):
        """Normalise x (..., C) over all axes but `axis`; statistics in at least float32, the result as `nn.BatchNorm`.

        `use_running_average` and `mask` (which positions count) are those of `nn.BatchNorm`.
        """
        running = nn.merge_param('use_running_average', self.use_running_average, use_running_average)
        if running and self.has_variable('batch_stats', 'mean'):
            return self._by_running_statistics(jnp.asarray(x))
        stored = {'mean': 0.0, 'var': 1.0} | dict(self.variables.get('batch_stats', {}))
        y = super().__call__(x, use_running_average, mask=mask)
        # Flax makes float32 statistics and lets a float64 batch widen them: a training step would change their dtype.
        self._cast_statistics({name: getattr(value, 'dtype', self._statistics_dtype) for name, value in stored.items()})
        if running or self.is_initializing():
            return y
        count = self._count(x, mask)
        if isinstance(count, int) and count <= 1:
            self._too_few(count, stored)
        elif self.unbiased:
            # The parent has stored momentum * old + (1 - momentum) * var: scale its second term only.
            kept = self.momentum * stored['var']
            added = self.get_variable('batch_stats', 'var') - kept
            n = jnp.asarray(count, added.dtype)
            updated = kept + added * (n / jnp.maximum(n - 1, 1))
            self.put_variable('batch_stats', 'var', updated.astype(added.dtype))
        return y

    @property
    def _statistics_dtype(self):
        """As the parameters, but at least float32 unless `force_float32_reductions` is off."""
        wide = jnp.promote_types(self.param_dtype, jnp.float32)
        return wide if self.force_float32_reductions else self.param_dtype

    def _cast_statistics(self, dtypes):
        """Statistics that can be written, in these dtypes."""
        if self.is_mutable_collection('batch_stats'):
            for name, dtype in dtypes.items():
                value = jnp.asarray(self.get_variable('batch_stats', name))
                if value.dtype != dtype:
                    self.put_variable('batch_stats', name, value.astype(dtype))

    def _by_running_statistics(self, x):
        """The parent's arithmetic, but for the factor of each channel: it is rounded once (`scaled_inverse_root`)."""
        axes = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        axes = sorted(a % x.ndim for a in axes)
        shape = tuple(x.shape[a] for a in axes)
        lanes = tuple(x.shape[a] if a in axes else 1 for a in range(x.ndim))
        mean, var = (jnp.asarray(self.get_variable('batch_stats', name)) for name in ('mean', 'var'))
        scale = self.param('scale', self.scale_init, shape, self.param_dtype) if self.use_scale else None
        bias = self.param('bias', self.bias_init, shape, self.param_dtype) if self.use_bias else None
        given = [a for a in (x, scale, bias) if a is not None]
        dtype = nn.dtypes.canonicalize_dtype(*given, dtype=self.dtype)
        acc = jnp.result_type(var, *([] if scale is None else [scale]))
        factor = scaled_inverse_root(
            jnp.ones(shape, acc) if scale is None else jnp.asarray(scale, acc),
            jnp.asarray(var, acc).reshape(shape),
            jnp.full(shape, self.epsilon, acc),
        )
        y = (x - mean.reshape(lanes)) * factor.reshape(lanes)
        return jnp.asarray(y if bias is None else y + bias.reshape(lanes), dtype)

    def _too_few(self, count, stored):
        """One value: say what comes of it. None, an empty batch: keep the statistics, which would become NaN."""
        if count == 1:
            warn_single_value()
            return
        for name, value in stored.items():
            shape = self.get_variable('batch_stats', name).shape
            self.put_variable('batch_stats', name, jnp.broadcast_to(jnp.asarray(value), shape))

    def _count(self, x, mask):
        """Values per channel, over all devices of `axis_name`: an int unless the batch is symbolic or masked."""
        axes = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        features = {a % x.ndim for a in axes}
        if mask is None:
            count = math.prod(n for i, n in enumerate(x.shape) if i not in features)
        else:
            every = jnp.broadcast_to(jnp.asarray(mask, bool), x.shape)
            # As many positions count in every channel, unless the mask differs by channel: then so does the factor.
            count = jnp.sum(every, axis=tuple(i for i in range(x.ndim) if i not in features))
        if self.axis_name is None:
            return count
        return lax.psum(count, self.axis_name, axis_index_groups=self.axis_index_groups)


class NoNorm(nn.Module):
    """No normalisation, for places that take a norm: y = x.

    >>> import jax, jax.numpy as jnp
    >>> from flax_dynconv.layers import ODConv
    >>> layer = ODConv(4, (3, 3), norm=NoNorm)
    >>> variables = jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((2, 8, 8, 3)))
    >>> sorted(variables['params']['routing'])
    ['channel', 'filter', 'hidden', 'kernel', 'spatial']
    """

    def __call__(self, x):
        """x (..., C) unchanged."""
        return x


def warn_single_value() -> None:
    """Say that a batch norm in training has one value per channel."""
    warnings.warn(
        'batch norm in training sees one value per channel: its output is its bias, whatever the input. Train with a '
        'batch of 2 or more, or give the layer another norm (nn.LayerNorm, NoNorm, or running averages)',
        stacklevel=3,
    )
