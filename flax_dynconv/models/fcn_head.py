"""The head of fully convolutional networks: 3x3 convolutions and a classifier of each pixel."""

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models.dense_head import DenseHead
from flax_dynconv.ops._checks import check_ints


class FCNHead(DenseHead):
    """logits = conv_seg(dropout(convs(x))), of a map x (B, h, w, C): the auxiliary head of segmentation networks.

    With `concat_input` a further convolution of [x, convs(x)] precedes the dropout, as in the head of FCN itself.
    Submodules are named as in mmsegmentation, dots replaced by underscores.

    Attributes (the others are those of `DenseHead`):
      num_convs: how many convolutions, 0: none, `conv_seg` alone.
      concat_input: see above.

    Raises ValueError for a negative `num_convs`, and what `DenseHead` refuses.

    >>> import jax
    >>> head, x = FCNHead(num_classes=19, channels=256), jax.ShapeDtypeStruct((1, 8, 8, 1024), jnp.float32)
    >>> variables = jax.eval_shape(head.init, jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables['params']['convs_0']['conv'])
    {'kernel': (3, 3, 1024, 256)}

    Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation" (CVPR 2015); equal to
    mmsegmentation's `FCNHead`.
    """

    num_convs: int = 1
    concat_input: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        """A map (B, h, w, C) to logits (B, h, w, num_classes); `train`: batch statistics and dropout."""
        self.check_fields(x)
        y = x
        for i in range(self.num_convs):
            y = self.conv(train, f'convs_{i}')(y)
        if self.concat_input:
            y = self.conv(train, 'conv_cat')(jnp.concatenate([x.astype(y.dtype), y], axis=-1))
        return self.classify(y, train)

    def check_fields(self, x):
        """See `DenseHead`; here also the number of convolutions."""
        check_ints(0, num_convs=self.num_convs)
        super().check_fields(x)
