"""What the heads of segmentation networks share: their convolutions, their mode and the classifier of each pixel."""

import numbers
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import ConvNormAct
from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.network import batch_norm
from flax_dynconv.ops._checks import check_ints


class DenseHead(nn.Module, kw_only=True):
    """Fields and pieces of a head from a map (B, h, w, C) to logits (B, h, w, num_classes); a subclass is one head.

    Attributes:
      num_classes: logits at each position.
      channels: those of the head's own maps.
      dropout: rate at which whole channels are dropped before the classifier, in training.
      norm: called with `name`, and with `dtype`, `param_dtype` and `use_running_average` if it has them.
      act: the activation, a function.
      dtype, param_dtype, precision: as in `nn.Conv`.

    Raises ValueError for an input that is not (B, h, w, C) and for fields out of their range.

    >>> from flax_dynconv.models.fcn_head import FCNHead
    >>> issubclass(FCNHead, DenseHead)
    True
    """

    num_classes: int
    channels: int = 512
    dropout: float = 0.1
    norm: ModuleDef = batch_norm
    act: ModuleDef = nn.relu
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    def settings(self, train):
        """Fields of the layers inside: norm in this mode, activation, dtypes."""
        dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        norm = offer(self.norm, use_running_average=not train, **dtypes)
        return {'norm': norm, 'act': self.act, 'precision': self.precision, **dtypes}

    def conv(self, train, name):
        """A 3x3 convolution to `channels` with norm and activation."""
        return ConvNormAct(self.channels, (3, 3), name=name, **self.settings(train))

    def classify(self, x, train):
        """(B, h, w, channels) to logits, after the dropout of channels."""
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        return nn.Conv(
            self.num_classes,
            (1, 1),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            kernel_init=nn.initializers.normal(0.01),
            name='conv_seg',
        )(x)

    def check_fields(self, x):
        """Refuse an input or fields that no head can have; the message names them."""
        if x.ndim != 4:
            raise ValueError(f'x must have shape (batch, height, width, channels), got {x.shape}')
        check_ints(num_classes=self.num_classes, channels=self.channels)
        rate = self.dropout
        if not isinstance(rate, numbers.Real) or isinstance(rate, bool) or not 0 <= rate < 1:
            raise ValueError(f'dropout must be a rate from 0 to below 1, got {rate!r}')
