"""VGG (Simonyan, Zisserman, ICLR 2015) with batch norms, and with seams for its convolutions, norm and width."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import adaptive_average_pool
from flax_dynconv.models._seams import ModuleDef
from flax_dynconv.models.network import Network, shared_routing
from flax_dynconv.ops._checks import is_int


class VGGBlock(nn.Module):
    """y = act(bn(conv(x))): a 3x3 convolution with a bias, its norm and its activation.

    >>> import functools, jax
    >>> from flax_dynconv.models.network import batch_norm, static_conv
    >>> norm = functools.partial(batch_norm, use_running_average=True)
    >>> block = VGGBlock(8, conv=static_conv, norm=norm, act=nn.relu)
    >>> jax.eval_shape(block.init_with_output, jax.random.key(0), jnp.ones((1, 6, 6, 4)))[0].shape
    (1, 6, 6, 8)

    Source: torchvision's `vgg16_bn`.
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef
    act: ModuleDef
    dilation: int = 1
    router: ModuleDef | None = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, C) to (B, H, W, features)."""
        (routing,) = shared_routing(self, x, (self.features,))
        conv = self.conv(
            features=self.features,
            kernel_size=(3, 3),
            padding=((self.dilation, self.dilation),) * 2,
            kernel_dilation=(self.dilation, self.dilation),
            use_bias=True,
            name='conv',
        )
        return self.act(self.norm(name='bn')(conv(x, *routing)))


class VGG(Network):
    """A plain network for images (B, H, W, C) that returns logits (B, num_classes) in the computation dtype.

    Stages of 3x3 convolutions with biases and norms, each followed by a 2x2 max pooling, the first with `features`
    channels, each further one with twice those, at most eight times `features` -> mean over 7 x 7 bins -> two linear
    layers with activation and dropout -> `classifier`. With `num_classes=0` the mean over the last map, (B, C), is
    returned and there are no linear layers; with `features_only=True` the map of each stage, before its pooling.

    Seams and settings: see `Network`; here also `hidden_features`, those of the linear layers, which `width` does
    not multiply, and `bins`, along one side. `stem_conv` is the first convolution. There is nothing that `drop_path`
    could drop. Maps of odd height or width lose a row or column when pooled.

    Raises ValueError for a `drop_path`, sizes below 1, images that pooling leaves nothing of, and what `Network`
    refuses.

    >>> import jax
    >>> model = VGG(stage_sizes=(1, 2), features=4, num_classes=3, hidden_features=8)
    >>> y, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), jnp.zeros((2, 16, 16, 1)))
    >>> y.shape, sorted(variables['params'])
    ((2, 3), ['classifier', 'hidden_0', 'hidden_1', 'stage1_0', 'stage2_0', 'stage2_1'])
    >>> model.clone(features_only=True).feature_strides
    (1, 2)

    Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015); equal
    to torchvision's `vgg16_bn` and `vgg19_bn`, initialisation too.
    """

    stage_sizes: Sequence[int]
    features: int = 64
    hidden_features: int = 4096
    bins: int = 7
    dropout: float = dataclasses.field(default=0.5, kw_only=True)

    @nn.compact
    def __call__(self, x, train=False):
        """Images (B, H, W, C) to logits; `train` uses batch statistics (make 'batch_stats' mutable) and dropout."""
        self.check_fields(x)
        block, settings, maps = self.block_class(VGGBlock), self._stages(), []
        total, index = sum(self.stage_sizes), 0
        for stage, size in enumerate(self.stage_sizes):
            if settings[stage][0] == 2:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for i in range(size):
                fields = self.block_settings(index, total, train)
                fields = {name: fields[name] for name in ('conv', 'router', 'norm', 'act')}
                if index == 0:
                    fields |= {'conv': self.in_mode(self.stem_conv, train), 'router': None}
                features, dilation = self._stage_features(stage), settings[stage + 1][1]
                x = block(features, dilation=dilation, name=f'stage{stage + 1}_{i}', **fields)(x)
                index += 1
            maps.append(x)
        if self.features_only:
            return tuple(maps)
        if settings[-1][0] == 2:
            x = nn.max_pool(x, (2, 2), (2, 2))
        if not self.num_classes:
            return jnp.mean(x, axis=(1, 2))
        x = adaptive_average_pool(x, self.bins).astype(x.dtype)
        x = jnp.reshape(x, (x.shape[0], -1))
        for i in range(2):
            x = nn.Dropout(self.dropout, deterministic=not train)(x) if i else x
            x = self.act(self._linear(f'hidden_{i}')(x))
        return self.classify(x, train, 'classifier')

    @property
    def feature_strides(self):
        """Strides of the maps that `features_only=True` gives, one for each stage."""
        strides = [1]
        for stride, _ in self._stages()[1:-1]:
            strides.append(strides[-1] * stride)
        return tuple(strides)

    def _stages(self):
        """(stride before it, dilation of what came before) of every stage, and of the last pooling."""
        return self.dilated([1, *(2 for _ in self.stage_sizes)])

    def _stage_features(self, stage):
        return max(1, round(self.features * self.width)) * min(2**stage, 8)

    def _linear(self, name):
        return nn.Dense(
            self.hidden_features,
            kernel_init=nn.initializers.normal(0.01),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            name=name,
        )

    def check_fields(self, x):
        """See `Network`; here also the sizes of the classifier."""
        if self.drop_path:
            raise ValueError(f'drop_path must be 0, for there are no branches to drop, got {self.drop_path!r}')
        for name in ('hidden_features', 'bins'):
            value = getattr(self, name)
            if not is_int(value) or value < 1:
                raise ValueError(f'{name} must be an integer >= 1, got {value!r}')
        super().check_fields(x)
        least = self.feature_strides[-1] * (1 if self.features_only else self._stages()[-1][0])
        if min(x.shape[1:3]) < least:
            raise ValueError(f'x must have a height and width of at least {least}, got shape {x.shape}')
