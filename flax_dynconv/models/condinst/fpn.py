"""A feature pyramid: the maps of a backbone, each with what the coarser ones know, in equally many channels."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models.condinst._convs import conv, uniform_fan_in
from flax_dynconv.ops._checks import check_ints


class FPN(nn.Module):
    """Maps c_l of a backbone to p_l, `num_levels` of them, each half as large as the one before.

    m_l = lateral_l(c_l) + up(m_{l+1}),  p_l = output_l(m_l),  and beyond the backbone's last map
    p_{l+1} = top_l+1(p_l), from the second one on top_{l+1}(ReLU(p_l)).

    `lateral` are 1x1 convolutions, `output` 3x3 ones and `top` 3x3 ones of stride 2, all with a bias and without norm;
    `up` repeats every element 2x2 times. A map of odd size takes as much of that as it has room for, so that any
    image size will do; with sides that are multiples of the coarsest stride of the backbone nothing is cut.

    Attributes:
      num_levels: how many maps there are in the end, at least as many as go in.
      first_level: the number of the finest one, in the names of the submodules: log2 of its stride.
      channels: those of the result.
      dtype, param_dtype, precision: as in `nn.Conv`.

    Submodules are named as in detectron2, dots replaced by underscores: `fpn_lateral3`, `fpn_output3`, `top_block_p6`.

    Raises ValueError for maps that do not halve from one to the next, and for more or fewer of them than will do.

    >>> maps = [jax.ShapeDtypeStruct((1, n, n, 8 * 32 // n), jnp.float32) for n in (32, 16, 8)]
    >>> y, variables = jax.eval_shape(FPN(num_levels=5).init_with_output, jax.random.key(0), maps)
    >>> [p.shape[1] for p in y], sum(leaf.size for leaf in jax.tree.leaves(variables))
    ([32, 16, 8, 4, 2], 2965504)

    Source: Lin et al., "Feature Pyramid Networks for Object Detection" (CVPR 2017), with the top of FCOS (Tian et al.,
    ICCV 2019), as detectron2's `FPN` with AdelaiDet's `LastLevelP6P7`; initialisation too.
    """

    num_levels: int = 5
    first_level: int = 3
    channels: int = 256
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
        """Maps (B, h, w, C_l), finest first, to a tuple of (B, h, w, channels)."""
        self._check(maps)
        levels = range(self.first_level, self.first_level + len(maps))
        pyramid, above = [], None
        for level, x in zip(reversed(levels), reversed(maps), strict=True):
            x = self._conv(1, f'fpn_lateral{level}')(x)
            above = x if above is None else x + _doubled(above, x.shape[1:3])
            pyramid.insert(0, self._conv(3, f'fpn_output{level}')(above))
        for level in range(levels.stop, self.first_level + self.num_levels):
            x = pyramid[-1] if level == levels.stop else nn.relu(pyramid[-1])
            pyramid.append(self._conv(3, f'top_block_p{level}', strides=2)(x))
        return tuple(pyramid)

    def _conv(self, size, name, strides=1):
        return conv(self, self.channels, size, name, strides, kernel_init=uniform_fan_in)

    def _check(self, maps):
        check_ints(num_levels=self.num_levels, channels=self.channels)
        check_ints(0, first_level=self.first_level)
        shapes = [tuple(x.shape) for x in maps]
        if not 1 <= len(maps) <= self.num_levels:
            raise ValueError(f'maps: expected 1 to num_levels = {self.num_levels} of them, got {len(maps)}')
        for fine, coarse in itertools.pairwise(shapes):
            if tuple(-(-n // 2) for n in fine[1:3]) != coarse[1:3]:
                raise ValueError(f'maps: expected each half as large as the one before, rounded up, got {shapes}')


def _doubled(x, size):
    """Every element of x (B, h, w, C) 2x2 times, cut to `size`."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)[:, : size[0], : size[1]]
