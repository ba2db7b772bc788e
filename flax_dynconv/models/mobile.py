"""The network of inverted residuals that MobileNet V1 to V3, MnasNet and EfficientNet are tables for."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models.inverted_residual import InvertedResidual
from flax_dynconv.models.network import Network
from flax_dynconv.models.residual_blocks import square_conv


class Stage(NamedTuple):
    """`repeats` blocks of `features` channels, the first with `strides`; one row of a paper's table.

    expansion: channels inside a block over those of its input; or `expanded` says how many there are at width 1.
    squeeze: inner channels of squeeze-and-excitation over those of the block's input (`squeeze_of_expanded`: of the
    expanded channels), 0: none. act: the activation, None: the network's. residual: whether there are shortcuts.

    >>> Stage(24, repeats=2, strides=2).expansion
    6
    """

    features: int
    repeats: int = 1
    strides: int = 1
    kernel_size: int = 3
    expansion: float = 6
    expanded: int | None = None
    squeeze: float = 0.0
    act: Callable[..., Any] | None = None
    residual: bool = True


def round_channels(channels, divisor=8):
    """The nearest multiple of `divisor`, at least `divisor` and at least 90 % of `channels`, as the papers' code does.

    >>> [round_channels(c) for c in (3, 11, 12, 33.6)]
    [8, 16, 16, 32]
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class MobileNet(Network):
    """A network of inverted residuals for images (B, H, W, C) that returns logits (B, num_classes).

    stem (3x3, stride 2) -> stages of `InvertedResidual` -> `head` (1x1) -> mean over the map -> [`hidden`] -> dropout
    -> `classifier`. With `num_classes=0` the pooled features of the head are returned; with `features_only=True` the
    last map of the stages at every stride (2, 4, 8, 16, 32), and there is no head.

    Attributes (after those of `Network`):
      stages: the table, one `Stage` for each row.
      stem_features, head_features: channels of the first and of the last convolution; 0: no `head`.
      hidden_features: a linear layer with the activation between pooling and classifier (MobileNetV3); 0: none.
      head_conv: makes the last 1x1 convolution; None: as the blocks do that are not dynamic.
      head_scales: when `width` multiplies head_features: 'above_one' (MobileNetV2), 'always' or 'never'.
      divisor: channels are multiples of it.
      padding: None: symmetric as in PyTorch; 'SAME': TensorFlow's.
      project_act, squeeze_act, gate, depthwise_init: as in `InvertedResidual`.
      squeeze_of_expanded: squeeze-and-excitation is sized by the expanded channels, in multiples of 8 (MobileNetV3).
      block: the class of the blocks.

    Submodules: stem, stem_bn, blocks_{stage}_{index}, head, head_bn, hidden, classifier.

    Raises ValueError for what `Network` refuses.

    >>> import jax
    >>> model = MobileNet((Stage(8, expansion=1), Stage(16, 2, 2)), stem_features=8, head_features=32, num_classes=3)
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    >>> sorted(variables['params'])
    ['blocks_0_0', 'blocks_1_0', 'blocks_1_1', 'classifier', 'head', 'head_bn', 'stem', 'stem_bn']
    >>> sorted(variables['params']['blocks_1_0'])
    ['depthwise', 'depthwise_bn', 'expand', 'expand_bn', 'project', 'project_bn']
    >>> model.feature_strides
    (2, 4)

    Source: Sandler et al., "MobileNetV2" (CVPR 2018), and what its successors share with it.
    """

    stages: Sequence[Stage]
    stem_features: int = 32
    head_features: int = 1280
    hidden_features: int = 0
    head_conv: Any = None
    head_scales: str = 'above_one'
    divisor: int = 8
    padding: Any = None
    project_act: bool = False
    squeeze_act: Callable[..., Any] | None = None
    gate: Callable[..., Any] = nn.sigmoid
    squeeze_of_expanded: bool = False
    depthwise_init: Callable[..., Any] | None = None
    block: Any = InvertedResidual
    act: Callable[..., Any] = dataclasses.field(default=nn.relu6, kw_only=True)

    @nn.compact
    def __call__(self, x, train=False):
        """Images (B, H, W, C) to logits; `train` uses batch statistics (make 'batch_stats' mutable) and dropout."""
        self.check_fields(x)
        norm = self.in_mode(self.norm, train)
        stem = self.in_mode(self.stem_conv, train)
        x = square_conv(stem, self._scaled(self.stem_features), 3, 2, 'stem', padding=self.padding)(x)
        x = self.act(norm(name='stem_bn')(x))
        maps, blocks = [], self._blocks()
        for index, (stage, i, strides, dilation, nominal) in enumerate(blocks):
            if nominal > 1:
                maps.append(x)
            x = self._block(index, len(blocks), stage, i, strides, dilation, x.shape[-1], train)(x)
        if self.features_only:
            return (*maps, x)
        if self.head_features:
            conv = self.in_mode(self.static_conv if self.head_conv is None else self.head_conv, train)
            x = square_conv(conv, self._head_width(), 1, 1, 'head')(x)
            x = self.act(norm(name='head_bn')(x))
        x = jnp.mean(x, axis=(1, 2))
        if self.num_classes and self.hidden_features:
            x = self.act(self._hidden()(x))
        return self.classify(x, train, 'classifier')

    @property
    def feature_strides(self):
        """Strides of the maps that `features_only=True` gives."""
        strides, total = [], 2
        for _, _, stride, _, nominal in self._blocks():
            if nominal > 1:
                strides.append(total)
            total *= stride
        return (*strides, total)

    def _blocks(self):
        """(stage, index in the stage, stride, dilation, nominal stride) of every block."""
        places = [(s, i) for s, stage in enumerate(self.stages) for i in range(stage.repeats)]
        nominal = [self.stages[s].strides if i == 0 else 1 for s, i in places]
        settings = self.dilated(nominal, start=2)
        return [(*place, *pair, stride) for place, pair, stride in zip(places, settings, nominal, strict=True)]

    def _block(self, index, total, stage, i, strides, dilation, inputs, train):
        row = self.stages[stage]
        expanded = self._scaled(row.expanded) if row.expanded else round(inputs * row.expansion)
        base = expanded if self.squeeze_of_expanded else inputs
        squeeze = round_channels(base * row.squeeze) if self.squeeze_of_expanded else round(base * row.squeeze)
        settings = self.block_settings(index, total, train)
        if row.act is not None:
            settings['act'] = row.act
        return self.block_class(self.block)(
            features=self._scaled(row.features),
            expanded=expanded,
            kernel_size=row.kernel_size,
            strides=strides,
            dilation=dilation,
            squeeze=max(1, squeeze) if row.squeeze else 0,
            squeeze_act=self.squeeze_act,
            gate=self.gate,
            # By the table, not by the stride it became: a dilated block changes what the next ones see.
            residual=row.residual and (i > 0 or row.strides == 1),
            project_act=self.project_act,
            padding=self.padding,
            depthwise_init=self.depthwise_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            name=f'blocks_{stage}_{i}',
            **settings,
        )

    def _hidden(self):
        dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'precision': self.precision}
        return nn.Dense(
            self._scaled(self.hidden_features), kernel_init=nn.initializers.normal(0.01), name='hidden', **dtypes
        )

    def _scaled(self, channels):
        return round_channels(channels * self.width, self.divisor)

    def _head_width(self):
        scales = {'always': self.width, 'never': 1.0, 'above_one': max(1.0, self.width)}
        if self.head_scales not in scales:
            raise ValueError(f'head_scales must be one of {tuple(scales)}, got {self.head_scales!r}')
        return round_channels(self.head_features * scales[self.head_scales], self.divisor)
