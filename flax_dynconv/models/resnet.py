"""ResNet (He et al., CVPR 2016) with seams for its convolutions, its norm, its activation and its width."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.network import Network, static_conv
from flax_dynconv.models.residual_blocks import BasicBlock, square_conv

STEMS = ('imagenet', 'cifar')


class ResNet(Network):
    """A residual network for images (B, H, W, C) that returns logits (B, num_classes) in the computation dtype.

    stem -> stages of blocks, each stage after the first halving the map and doubling the width -> mean over the map
    -> dropout -> `fc`. With `num_classes=0` the pooled features (B, C) are returned and there is no `fc`; with
    `features_only=True` the maps of the stem (before pooling) and of each stage.

    Seams and settings: see `Network`; here also `downsample_conv`, the 1x1 convolution of the shortcuts, and
    `stem_features`, the channels of the first convolution, where they are not those of the first stage (`features`).
    Submodules are named as in torchvision, dots replaced by underscores.

    Raises ValueError for an unknown `stem`, a `width` that is not positive, rates outside [0, 1), an unknown
    `output_stride` or an input that is not (B, H, W, C).

    >>> import jax
    >>> model = ResNet(stage_sizes=(1, 1), features=4, num_classes=3, stem='cifar')
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> sorted(variables['params'])
    ['bn1', 'conv1', 'fc', 'layer1_0', 'layer2_0']
    >>> sorted(variables['params']['layer2_0'])
    ['bn1', 'bn2', 'conv1', 'conv2', 'downsample_0', 'downsample_1']
    >>> model.apply(variables, jnp.ones((2, 8, 8, 1)), train=False).shape
    (2, 3)
    >>> model.clone(features_only=True).feature_strides
    (1, 1, 2)

    Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); strides and padding as torchvision.
    """

    stage_sizes: Sequence[int]
    block: ModuleDef = BasicBlock
    features: int = 64
    stem: str = 'imagenet'
    downsample_conv: ModuleDef = static_conv
    stride_in_1x1: bool = False
    stem_features: int | None = None

    @nn.compact
    def __call__(self, x, train=False):
        """Images (B, H, W, C) to logits; `train` uses batch statistics (make 'batch_stats' mutable) and dropout."""
        self.check_fields(x)
        norm, imagenet = self.in_mode(self.norm, train), self.stem == 'imagenet'
        stem_conv = self.in_mode(self.stem_conv, train)
        x = square_conv(stem_conv, self._stem_features(), 7 if imagenet else 3, 2 if imagenet else 1, 'conv1')(x)
        x = self.act(norm(name='bn1')(x))
        maps = [x]
        if imagenet:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        block, total = self.block_class(self.block), sum(self.stage_sizes)
        for index, (stage, i, strides, dilation, next_dilation) in enumerate(self._blocks()):
            x = offer(block, next_dilation=next_dilation)(
                self._stage_features(stage),
                strides,
                downsample_conv=self.in_mode(self.downsample_conv, train),
                stride_in_1x1=self.stride_in_1x1,
                dilation=dilation,
                name=f'layer{stage + 1}_{i}',
                **self.block_settings(index, total, train),
            )(x)
            if i == self.stage_sizes[stage] - 1:
                maps.append(x)
        if self.features_only:
            return tuple(maps)
        return self.classify(jnp.mean(x, axis=(1, 2)), train, 'fc')

    @property
    def feature_strides(self):
        """Strides of the maps that `features_only=True` gives: the stem's and each stage's."""
        total = self._stem_stride() // 2 if self.stem == 'imagenet' else 1
        strides = [total]
        total = self._stem_stride()
        for stage, i, stride, *_ in self._blocks():
            total *= stride
            if i == self.stage_sizes[stage] - 1:
                strides.append(total)
        return tuple(strides)

    def _blocks(self):
        """(stage, index in the stage, stride, dilation, that of the next block) of every block."""
        places = [(stage, i) for stage, size in enumerate(self.stage_sizes) for i in range(size)]
        nominal = [2 if stage > 0 and i == 0 else 1 for stage, i in places]
        settings = self.dilated([*nominal, 1], self._stem_stride())
        return [(*place, *settings[n], settings[n + 1][1]) for n, place in enumerate(places)]

    def _stem_stride(self):
        return 4 if self.stem == 'imagenet' else 1

    def _stem_features(self):
        return self._scaled(self.features if self.stem_features is None else self.stem_features)

    def _stage_features(self, stage):
        return self._scaled(self.features) * 2**stage

    def _scaled(self, channels):
        return max(1, round(channels * self.width))

    def check_fields(self, x):
        """See `Network`; here also the stem."""
        if self.stem not in STEMS:
            raise ValueError(f"stem must be one of {STEMS}, got '{self.stem}'")
        super().check_fields(x)
