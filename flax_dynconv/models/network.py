"""What every classification network shares: its seams, its modes, its head and the maps it can return."""

import functools
import numbers
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import BatchNorm
from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.ops import conv_general_dilated
from flax_dynconv.ops._checks import is_int

# N(0, 2 / (kh * kw * Cout)): what torchvision and ODConv's networks draw for static convolutions.
he_fan_out = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
# Offered, not set: Flax has announced that the field will go, and then the networks are slower on CPU and no more.
static_conv = offer(functools.partial(nn.Conv, kernel_init=he_fan_out), conv_general_dilated=conv_general_dilated)
batch_norm = functools.partial(BatchNorm, momentum=0.9, epsilon=1e-5)


class Network(nn.Module, kw_only=True):
    """The fields and pieces of a network for images (B, H, W, C); a subclass is one architecture.

    Attributes:
      num_classes: length of the logits; 0: no classifier, the pooled features (B, C) are returned.
      in_channels: channels that the images must have; None takes what comes.
      width: multiplies the channels of stem and stages; each architecture says what else.
      conv: makes the convolutions of the blocks, called with `nn.Conv`'s keywords (features, kernel_size, strides,
        padding, kernel_dilation, feature_group_count, use_bias, dtype, param_dtype, precision, name).
      static_conv: what the blocks that are not dynamic use instead of `conv`.
      dynamic_blocks: how many blocks, counted from the end, use `conv` and `router`; None: all of them.
      router: makes the routing that the convolutions of a block share, computed from the block's input and passed to
        each of them as a second argument; None: each convolution has its own. A router with a field `features`
        (`DyNetRouting`) is given the output channels of all of them and returns a tuple, one routing for each.
      stem_conv: makes the first convolution.
      classifier_conv: makes a 1x1 convolution of the pooled features that is the classifier; None: a linear layer.
      norm: called with `name`, and with `dtype`, `param_dtype` and `use_running_average` if it has them; a `conv` with
        a field `norm` (ODConv's routing) is given a BatchNorm in the same mode.
      act: the activation, a function.
      dropout: rate before the classifier.
      drop_path: stochastic depth; block i of n, counted from 0, is dropped for a sample at the rate drop_path * i / n,
        as in the published EfficientNets, and what passes is scaled up.
      output_stride: the largest stride of a map, such as 8 or 16 for dense prediction; later blocks dilate their
        kernels instead. None: what the architecture has, 32.
      features_only: return the last map at every stride, finest first, and have no head: see `feature_strides`.
      remat: compute the activations of the blocks again in the backward pass instead of keeping them.
      dtype, param_dtype, precision: as in `nn.Conv`; norms, routing and mixing stay at least in float32.

    Training (`train=True`) uses batch statistics (make 'batch_stats' mutable) and, with a rate, needs the rng
    'dropout'.

    Raises ValueError for an input that is not (B, H, W, C) or has other channels, and for fields out of their range.

    >>> from flax_dynconv.models.registry import create_model
    >>> model = create_model('condconv_resnet18_8x', features_only=True, output_stride=16)
    >>> isinstance(model, Network), model.feature_strides
    (True, (2, 4, 8, 16, 16))
    """

    num_classes: int = 1000
    in_channels: int | None = None
    width: float = 1.0
    conv: ModuleDef = static_conv
    static_conv: ModuleDef = static_conv
    dynamic_blocks: int | None = None
    router: ModuleDef | None = None
    stem_conv: ModuleDef = static_conv
    classifier_conv: ModuleDef | None = None
    norm: ModuleDef = batch_norm
    act: ModuleDef = nn.relu
    dropout: float = 0.0
    drop_path: float = 0.0
    output_stride: int | None = None
    features_only: bool = False
    remat: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    def in_mode(self, constructor, train):
        """`constructor` in this network's dtypes and mode; a routing norm follows the mode of the network's own."""
        routing_norm = functools.partial(batch_norm, use_running_average=not train, param_dtype=self.param_dtype)
        return constructor and offer(
            constructor,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            use_running_average=not train,
            norm=routing_norm,
        )

    def block_settings(self, index, total, train):
        """Keywords of block `index` of `total` that every architecture has: its layers, its rate, its mode."""
        dynamic = self.dynamic_blocks is None or index >= total - self.dynamic_blocks
        return {
            'conv': self.in_mode(self.conv if dynamic else self.static_conv, train),
            'router': self.in_mode(self.router if dynamic else None, train),
            'norm': self.in_mode(self.norm, train),
            'act': self.act,
            'drop_path': self.drop_path * index / total,
            'train': train,
        }

    def block_class(self, block):
        """`block`, or its form that keeps no activations."""
        return nn.remat(block) if self.remat else block

    def classify(self, x, train, name, kernel_init=None):
        """Pooled features (B, C) to logits (B, num_classes), or themselves where there is no classifier."""
        if not self.num_classes:
            return x
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        if self.classifier_conv is not None:
            conv = self.in_mode(self.classifier_conv, train)
            return conv(features=self.num_classes, kernel_size=(1, 1), name=name)(x[:, None, None, :])[:, 0, 0, :]
        return nn.Dense(
            self.num_classes,
            kernel_init=nn.initializers.normal(0.01) if kernel_init is None else kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            name=name,
        )(x)

    def dilated(self, strides, start=1):
        """(stride, dilation) of every block, whose nominal `strides` follow a stem of stride `start`.

        Where the map would become smaller than `output_stride` allows, the stride becomes a dilation of the blocks
        after that one, as in torchvision and timm.
        """
        pairs, total, dilation = [], start, 1
        for stride in strides:
            wanted = 1
            if self.output_stride is not None and total * stride > self.output_stride:
                stride, wanted = 1, stride
            total *= stride
            pairs.append((stride, dilation))
            dilation *= wanted
        return pairs

    def check_fields(self, x):
        """Refuse an input or fields that no network can have; the message names them."""
        if x.ndim != 4:
            raise ValueError(f'x must have shape (batch, height, width, channels), got {x.shape}')
        if self.in_channels is not None and x.shape[-1] != self.in_channels:
            raise ValueError(f'x must have in_channels = {self.in_channels} channels, got shape {x.shape}')
        if not _is_number(self.width) or not 0 < self.width < float('inf'):
            raise ValueError(f'width must be a positive multiplier, got {self.width!r}')
        for rate in ('dropout', 'drop_path'):
            value = getattr(self, rate)
            if not _is_number(value) or not 0 <= value < 1:
                raise ValueError(f'{rate} must be a rate from 0 to below 1, got {value!r}')
        stride, known = self.output_stride, (4, 8, 16, 32)
        if stride is not None and (not is_int(stride) or stride not in known):
            raise ValueError(f'output_stride must be one of {known} or None, got {stride!r}')
        if not is_int(self.num_classes) or self.num_classes < 0:
            raise ValueError(f'num_classes must be an integer >= 0, got {self.num_classes!r}')
        blocks = self.dynamic_blocks
        if blocks is not None and (not is_int(blocks) or blocks < 0):
            raise ValueError(f'dynamic_blocks must be an integer >= 0 or None, got {blocks!r}')
        for name, example in (('conv', 'nn.Conv'), ('norm', 'NoNorm'), ('act', 'nn.relu')):
            if not callable(getattr(self, name)):
                raise ValueError(f'{name} must be callable, such as {example}, got {getattr(self, name)!r}')
        if self.router is not None and _is_static(self.conv):
            raise ValueError('router must be None where conv is nn.Conv, which takes no routing')


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_static(conv):
    """Whether a constructor, under its partials, is Flax's own convolution."""
    while isinstance(conv, functools.partial):
        conv = conv.func
    return isinstance(conv, type) and issubclass(conv, nn.Conv)


def drop_path(y, rate, train):
    """The residual branch y (B, ...) of a block, dropped for whole samples at `rate` in training, else as it is."""
    return nn.Dropout(rate, broadcast_dims=tuple(range(1, y.ndim)), deterministic=not train)(y)


def shared_routing(block, x, widths):
    """The further arguments of each convolution of a block, whose outputs have `widths` channels.

    Without `block.router` there are none. A router with a field `features` (DyNet's) is given all widths and returns
    a routing for each convolution, others (CondConv's) return one for all.
    """
    if block.router is None:
        return ((),) * len(widths)
    routing = offer(block.router, features=tuple(widths))(name='routing')(x)
    if isinstance(routing, tuple | list):
        return tuple((each,) for each in routing)
    return ((routing,),) * len(widths)
