"""ShuffleNetV2 (Ma et al., ECCV 2018) with seams for its convolutions, its norm, its activation and its split."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models._construct import construct
from flax_dynconv.models._seams import ModuleDef
from flax_dynconv.models.network import Network, static_conv
from flax_dynconv.models.residual_blocks import square_conv
from flax_dynconv.models.shufflenet_block import ShuffleBlock


class ShuffleNetV2(Network):
    """A network of `ShuffleBlock`s for images (B, H, W, C) that returns logits (B, num_classes).

    stem (3x3, stride 2) -> max pooling (stride 2) -> stages, each halving the map -> `head` (1x1) -> mean over the
    map -> dropout -> `classifier`. With `num_classes=0` the pooled features of the head are returned; with
    `features_only=True` the maps of the stem, of the pooling and of each stage, and there is no head.

    `width` multiplies the channels of the stages, to multiples of 4; stem and head keep theirs, as in the paper, whose
    four sizes are tables of their own and not exact multiples of each other: see `shufflenetv2`. `drop_path` drops the
    right branch of a block, which is the one that it computes.

    Attributes (after those of `Network`):
      stage_features: channels of each stage.
      stage_sizes: blocks in each stage.
      stem_features, head_features: channels of the first and of the last convolution.
      right_share: the part of the channels that a block filters, at most half; see `ShuffleBlock`.
      left_conv: makes the convolutions of the left branches (in the first block of a stage).
      head_conv: makes the last 1x1 convolution.

    Submodules: stem, stem_bn, stage{s}_{index} with s from 2 as in the paper, head, head_bn, classifier.

    Raises ValueError for what `Network` refuses and for a `right_share` outside (0, 1/2].

    >>> import jax
    >>> model = ShuffleNetV2((8, 16), (2, 1), stem_features=4, head_features=32, num_classes=3)
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    >>> sorted(variables['params'])
    ['classifier', 'head', 'head_bn', 'stage2_0', 'stage2_1', 'stage3_0', 'stem', 'stem_bn']
    >>> sorted(variables['params']['stage2_1'])
    ['depthwise', 'depthwise_bn', 'expand', 'expand_bn', 'project', 'project_bn']
    >>> model.feature_strides
    (2, 4, 8, 16)

    Source: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (ECCV 2018); padding,
    norms, order of the channels and parameter counts as torchvision's `shufflenet_v2_x*`.
    """

    stage_features: Sequence[int]
    stage_sizes: Sequence[int] = (4, 8, 4)
    stem_features: int = 24
    head_features: int = 1024
    right_share: float = 0.5
    left_conv: ModuleDef = static_conv
    head_conv: ModuleDef = static_conv

    @nn.compact
    def __call__(self, x, train=False):
        """Images (B, H, W, C) to logits; `train` uses batch statistics (make 'batch_stats' mutable) and dropout."""
        self.check_fields(x)
        norm = self.in_mode(self.norm, train)
        x = square_conv(self.in_mode(self.stem_conv, train), self.stem_features, 3, 2, 'stem')(x)
        x = self.act(norm(name='stem_bn')(x))
        maps = [x]
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        maps.append(x)
        block, total = self.block_class(ShuffleBlock), sum(self.stage_sizes)
        for index, (stage, i, strides, dilation) in enumerate(self._blocks()):
            x = block(
                self._scaled(self.stage_features[stage]),
                strides,
                # By the table, not by the stride: a dilated stage changes the channels all the same.
                downsample=i == 0,
                right_share=self.right_share,
                left_conv=self.in_mode(self.left_conv, train),
                dilation=dilation,
                name=f'stage{stage + 2}_{i}',
                **self.block_settings(index, total, train),
            )(x)
            if i == self.stage_sizes[stage] - 1:
                maps.append(x)
        if self.features_only:
            return tuple(maps)
        x = square_conv(self.in_mode(self.head_conv, train), self.head_features, 1, 1, 'head')(x)
        x = self.act(norm(name='head_bn')(x))
        return self.classify(jnp.mean(x, axis=(1, 2)), train, 'classifier')

    @property
    def feature_strides(self):
        """Strides of the maps that `features_only=True` gives: the stem's, the pooling's and each stage's."""
        strides, total = [2, 4], 4
        for stage, i, stride, _ in self._blocks():
            total *= stride
            if i == self.stage_sizes[stage] - 1:
                strides.append(total)
        return tuple(strides)

    def _blocks(self):
        """(stage, index in the stage, stride, dilation) of every block."""
        places = [(stage, i) for stage, size in enumerate(self.stage_sizes) for i in range(size)]
        settings = self.dilated([2 if i == 0 else 1 for _, i in places], start=4)
        return [(*place, *setting) for place, setting in zip(places, settings, strict=True)]

    def _scaled(self, channels):
        return max(4, 4 * round(channels * self.width / 4))

    def check_fields(self, x):
        """See `Network`; here also the share of the right branch."""
        if not 0 < self.right_share <= 0.5:
            raise ValueError(f'right_share must be above 0 and at most 0.5, got {self.right_share}')
        super().check_fields(x)


# Table 5 of the paper: channels of the stages and of the head, by size.
SIZES = {
    0.5: {'stage_features': (48, 96, 192)},
    1.0: {'stage_features': (116, 232, 464)},
    1.5: {'stage_features': (176, 352, 704)},
    2.0: {'stage_features': (244, 488, 976), 'head_features': 2048},
}


def shufflenetv2(size=1.0, **fields):
    """`ShuffleNetV2` of one of `SIZES`; `fields` are its own. ValueError for another size, TypeError for a field.

    >>> shufflenetv2(1.5, num_classes=10).stage_features
    (176, 352, 704)

    Source: Ma et al., "ShuffleNet V2" (ECCV 2018), table 5.
    """
    if size not in SIZES:
        raise ValueError(f'size must be one of {sorted(SIZES)}, got {size!r}')
    return construct(ShuffleNetV2, {**SIZES[size], **fields})


SHUFFLENETS_V2 = {f'shufflenetv2_{100 * size:03.0f}': functools.partial(shufflenetv2, size) for size in SIZES}
