"""ResNet (He et al., CVPR 2016) with seams for its convolutions, its norm, its activation and its width."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.network import Network, static_conv
from flax_dynconv.models.residual_blocks import BasicBlock, square_conv
from flax_dynconv.ops._checks import are_ints

STEMS = ('imagenet', 'deep', 'cifar')


class ResNet(Network):
    """A residual network for images (B, H, W, C) that returns logits (B, num_classes) in the computation dtype.

    stem -> stages of blocks, each stage after the first halving the map and doubling the width -> mean over the map
    -> dropout -> `fc`. With `num_classes=0` the pooled features (B, C) are returned and there is no `fc`; with
    `features_only=True` the maps of the stem (before pooling) and of each stage.

    The `stem` is a 7x7 convolution of stride 2 and a pooling ('imagenet'), three 3x3 convolutions, the first of stride
    2 and all but the last of half the channels, and that pooling ('deep', ResNet-C or V1c), or one 3x3 convolution for
    small images ('cifar').

    Seams and settings: see `Network`; here also `downsample_conv`, the 1x1 convolution of the shortcuts, and
    `stem_features`, the channels of the stem, where they are not those of the first stage (`features`). Of
    `features_only`: `stem_map`, whether the stem's map is given too, and `stage_maps`, the numbers of the stages whose
    maps are, from 0 on; None: all. Submodules are named as in torchvision, dots replaced by underscores, those of a
    deep stem as in mmsegmentation.

    Raises ValueError for an unknown `stem`, a stage that is not there, a `width` that is not positive, rates outside
    [0, 1), an unknown `output_stride` or an input that is not (B, H, W, C).

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
    The deep stem: He et al., "Bag of Tricks for Image Classification" (CVPR 2019), as mmsegmentation's `ResNetV1c`.
    """

    stage_sizes: Sequence[int]
    block: ModuleDef = BasicBlock
    features: int = 64
    stem: str = 'imagenet'
    downsample_conv: ModuleDef = static_conv
    stride_in_1x1: bool = False
    stem_features: int | None = None
    stem_map: bool = True
    stage_maps: Sequence[int] | None = None

    @nn.compact
    def __call__(self, x, train=False):
        """Images (B, H, W, C) to logits; `train` uses batch statistics (make 'batch_stats' mutable) and dropout."""
        self.check_fields(x)
        conv, norm = self.in_mode(self.stem_conv, train), self.in_mode(self.norm, train)
        for features, size, strides, name, norm_name in self._stem_layers():
            x = square_conv(conv, features, size, strides, name)(x)
            x = self.act(norm(name=norm_name)(x))
        maps = [x] if self.stem_map else []
        if self.stem != 'cifar':
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
            if self._gives_map(stage, i):
                maps.append(x)
        if self.features_only:
            return tuple(maps)
        return self.classify(jnp.mean(x, axis=(1, 2)), train, 'fc')

    @property
    def feature_strides(self):
        """Strides of the maps that `features_only=True` gives: the stem's and each stage's."""
        total = self._stem_stride()
        strides = [max(1, total // 2)] if self.stem_map else []
        for stage, i, stride, *_ in self._blocks():
            total *= stride
            if self._gives_map(stage, i):
                strides.append(total)
        return tuple(strides)

    def _gives_map(self, stage, i):
        return i == self.stage_sizes[stage] - 1 and (self.stage_maps is None or stage in self.stage_maps)

    def _blocks(self):
        """(stage, index in the stage, stride, dilation, that of the next block) of every block."""
        places = [(stage, i) for stage, size in enumerate(self.stage_sizes) for i in range(size)]
        nominal = [2 if stage > 0 and i == 0 else 1 for stage, i in places]
        settings = self.dilated([*nominal, 1], self._stem_stride())
        return [(*place, *settings[n], settings[n + 1][1]) for n, place in enumerate(places)]

    def _stem_stride(self):
        return 1 if self.stem == 'cifar' else 4

    def _stem_layers(self):
        """(features, size, stride, name, name of its norm) of each convolution before the pooling."""
        features = self._stem_features()
        if self.stem == 'deep':
            half = max(1, features // 2)
            plan = ((half, 2), (half, 1), (features, 1))
            # PyTorch's numbers: convolution, norm and activation follow each other in one sequence.
            return [(n, 3, stride, f'stem_{3 * i}', f'stem_{3 * i + 1}') for i, (n, stride) in enumerate(plan)]
        return [(features, 7, 2, 'conv1', 'bn1') if self.stem == 'imagenet' else (features, 3, 1, 'conv1', 'bn1')]

    def _stem_features(self):
        return self._scaled(self.features if self.stem_features is None else self.stem_features)

    def _stage_features(self, stage):
        return self._scaled(self.features) * 2**stage

    def _scaled(self, channels):
        return max(1, round(channels * self.width))

    def check_fields(self, x):
        """See `Network`; here also the stem and the stages whose maps are given."""
        if self.stem not in STEMS:
            raise ValueError(f"stem must be one of {STEMS}, got '{self.stem}'")
        stages = self.stage_maps
        if stages is not None and (not are_ints(stages, 0) or any(n >= len(self.stage_sizes) for n in stages)):
            raise ValueError(f'stage_maps must be ints from 0 to {len(self.stage_sizes) - 1} or None, got {stages!r}')
        super().check_fields(x)
