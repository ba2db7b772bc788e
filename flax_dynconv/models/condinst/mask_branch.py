"""The mask branch: what every mask network of an image looks at, made of the finest levels of a pyramid."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import ConvNormAct, aligned_bilinear
from flax_dynconv.layers._torch_init import torch_bias, torch_kernel
from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.condinst._convs import conv, small_normal, uniform_fan_in
from flax_dynconv.models.network import batch_norm
from flax_dynconv.ops._checks import check_ints


class MaskBranch(nn.Module):
    """Maps p_0, p_1, .. of a pyramid, finest first, to features (B, h, w, features) at the size of p_0.

    z = sum_l up(refine_l(p_l));  features = conv1x1(tower(z)),

    refine_l a 3x3 convolution with norm and ReLU, `tower` `num_convs` of them, `up` `aligned_bilinear` by the ratio of
    the sizes. With `num_classes` there are also logits of the class at each position, a 1x1 convolution of two more
    such convolutions of p_0: for an auxiliary loss.

    Attributes:
      features: channels of the result.
      channels: those of the maps inside.
      num_convs: of the tower.
      num_classes: logits of the semantic head; 0: there is none.
      norm: called with `name`, and with `dtype`, `param_dtype` and `use_running_average` if it has them.
      dtype, param_dtype, precision: as in `nn.Conv`; what is returned is in promote_types(dtype, float32).

    Submodules are named as in AdelaiDet, dots replaced by underscores: `refine_0`, `tower_0`, .., `seg_head_0` hold
    `conv` and `bn`; `tower_{num_convs}` and `logits` are the 1x1 convolutions.

    Raises ValueError for maps that are not halves of each other, rounded up, and fields out of their range.

    >>> maps = [jax.ShapeDtypeStruct((1, n, n, 256), jnp.float32) for n in (16, 8, 4)]
    >>> (features, semantic), variables = jax.eval_shape(MaskBranch().init_with_output, jax.random.key(0), maps)
    >>> features.shape, semantic, sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    ((1, 16, 16, 8), None, 1477384)

    Source: CondInst (Tian et al., ECCV 2020), as AdelaiDet's `MaskBranch`; initialisation too.
    """

    features: int = 8
    channels: int = 128
    num_convs: int = 4
    num_classes: int = 0
    norm: ModuleDef = batch_norm
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array], train: bool = False) -> tuple[jax.Array, jax.Array | None]:
        """Maps (B, h_l, w_l, C) to (features, semantic logits or None); `train` uses batch statistics."""
        self._check(maps)
        total = None
        for level, x in enumerate(maps):
            x = self._block(train, f'refine_{level}')(x)
            total = x if total is None else total + _at_size(x, 2**level, total.shape[1:3])
        for i in range(self.num_convs):
            total = self._block(train, f'tower_{i}')(total)
        initial = {'kernel_init': torch_kernel, 'bias_init': torch_bias(total.shape[-1])}
        features = self._pointwise(total, self.features, f'tower_{self.num_convs}', **initial)
        if not self.num_classes:
            return features, None
        x = self._block(train, 'seg_head_1')(self._block(train, 'seg_head_0')(maps[0]))
        rare = nn.initializers.constant(-math.log(99))  # Every class has probability 0.01 at first.
        return features, self._pointwise(x, self.num_classes, 'logits', kernel_init=small_normal, bias_init=rare)

    def _block(self, train, name):
        dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        norm = offer(self.norm, use_running_average=not train, **dtypes)
        fields = {'norm': norm, 'kernel_init': uniform_fan_in, 'precision': self.precision, **dtypes}
        return ConvNormAct(self.channels, (3, 3), name=name, **fields)

    def _pointwise(self, x, features, name, **fields):
        wide = jnp.promote_types(x.dtype if self.dtype is None else self.dtype, jnp.float32)
        return conv(self, features, 1, name, dtype=wide, **fields)(x)

    def _check(self, maps):
        check_ints(features=self.features, channels=self.channels)
        check_ints(0, num_convs=self.num_convs, num_classes=self.num_classes)
        shapes = [tuple(x.shape) for x in maps]
        if not maps:
            raise ValueError('maps: expected at least one, got none')
        for level, shape in enumerate(shapes):
            if shape[1:3] != tuple(-(-n // 2**level) for n in shapes[0][1:3]):
                raise ValueError(f'maps: expected each half as large as the one before, rounded up, got {shapes}')


def _at_size(x, factor, size):
    """x enlarged and cut to `size`, in its dtype."""
    return aligned_bilinear(x, factor)[:, : size[0], : size[1]].astype(x.dtype)
