"""DMNet's head (He, Deng, Qiao, ICCV 2019): dynamic convolutional modules of several filter sizes beside each other."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import DCM
from flax_dynconv.models.dense_head import DenseHead
from flax_dynconv.ops import Autotune
from flax_dynconv.ops._checks import are_ints


class DMHead(DenseHead):
    """logits = conv_seg(dropout(bottleneck([x, DCM_k1(x), .., DCM_kn(x)]))), of a map x (B, h, w, C).

    The bottleneck is a 3x3 convolution of C + n * channels to `channels` with norm and activation, the classifier a
    1x1 convolution with a bias. Submodules are named as in mmsegmentation, dots replaced by underscores.

    Attributes (the others are those of `DenseHead`):
      filter_sizes: k1 .. kn.
      fusion: see `DCM`; no published network has it.
      implementation: form of `ops.per_sample_conv`, None to choose, an `ops.Autotune` to measure.

    For C = 2048 and 19 classes it has 27,283,987 parameters, each DCM 2,099,712; with fusion 28,336,659.

    Raises ValueError for no filter sizes or one below 1, and what `DenseHead` refuses.

    >>> import jax
    >>> head, x = DMHead(num_classes=19), jax.ShapeDtypeStruct((1, 8, 8, 2048), jnp.float32)
    >>> y, variables = jax.eval_shape(head.init_with_output, jax.random.key(0), x)
    >>> y.shape, sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    ((1, 8, 8, 19), 27283987)
    >>> sorted(variables['params'])[:3]
    ['bottleneck', 'conv_seg', 'dcm_modules_0']

    Source: He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation" (ICCV 2019); equal to `DMHead` of
    Junjun2016/DMNet and of mmsegmentation, its initialisation too.
    """

    filter_sizes: Sequence[int] = (1, 3, 5, 7)
    fusion: bool = False
    implementation: str | Autotune | None = None

    @nn.compact
    def __call__(self, x, train=False):
        """A map (B, h, w, C) to logits (B, h, w, num_classes); `train`: batch statistics and dropout."""
        self.check_fields(x)
        settings = {**self.settings(train), 'implementation': self.implementation}
        maps = [
            DCM(self.channels, size, self.fusion, name=f'dcm_modules_{i}', **settings)(x)
            for i, size in enumerate(self.filter_sizes)
        ]
        x = jnp.concatenate([x.astype(maps[0].dtype), *maps], axis=-1)
        return self.classify(self.conv(train, 'bottleneck')(x), train)

    def check_fields(self, x):
        """See `DenseHead`; here also the filter sizes."""
        if not are_ints(self.filter_sizes) or not self.filter_sizes:
            raise ValueError(f'filter_sizes: expected ints >= 1, at least one, got {self.filter_sizes!r}')
        super().check_fields(x)
