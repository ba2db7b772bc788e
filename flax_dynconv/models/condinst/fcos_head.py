"""The head of FCOS: classes, boxes and centerness at every location, and a mask network for it."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models.condinst._convs import conv, small_normal
from flax_dynconv.ops._checks import check_ints


class LevelScale(nn.Module):
    """y = scale * x with one learned number, 1 at first, for the maps of one level.

    >>> jax.tree.map(jnp.shape, LevelScale().init(jax.random.key(0), jnp.ones(3)))
    {'params': {'scale': (1,)}}
    """

    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        """x of any shape, times the number, in x's dtype."""
        return x * self.param('scale', nn.initializers.ones, (1,), self.param_dtype)[0].astype(x.dtype)


class FCOSHead(nn.Module):
    """Maps p_l of a pyramid to logits, boxes, centerness and parameters of mask networks, with weights that all share.

    c = tower(p_l), b = tower'(p_l), each `num_convs` times ReLU(GroupNorm(conv3x3(.)))

    logits = conv(c);  boxes = ReLU(scale_l conv(b));  centerness = conv(b);  parameters = conv(b)

    All convolutions are 3x3 and have a bias; only the numbers `scale_l` are a level's own.

    Attributes:
      num_classes: logits at each location.
      num_parameters: those of a mask network; 0: none are made, as in FCOS itself.
      num_convs: of each tower.
      num_groups: of the norms.
      prior: the probability of every class at first.
      dtype, param_dtype, precision: as in `nn.Conv`; what is returned is in promote_types(dtype, float32).

    Submodules are named as in AdelaiDet, dots replaced by underscores (`cls_tower_0` is a convolution, `cls_tower_1`
    its norm, `cls_tower_3` the next convolution; `scales_0`); the `controller`, which there belongs to CondInst, is
    here.

    Raises ValueError for channels that `num_groups` does not divide, and fields out of their range.

    >>> maps = [jax.ShapeDtypeStruct((1, n, n, 256), jnp.float32) for n in (8, 4)]
    >>> head = FCOSHead(num_classes=80)
    >>> y, variables = jax.eval_shape(head.init_with_output, jax.random.key(0), maps)
    >>> [[level.shape[-1] for level in levels] for levels in y]
    [[80, 80], [4, 4], [1, 1], [169, 169]]
    >>> sum(leaf.size for leaf in jax.tree.leaves(variables['params']['controller']))
    389545

    Source: Tian et al., "FCOS" (ICCV 2019) and "Conditional Convolutions for Instance Segmentation" (ECCV 2020), as
    AdelaiDet's `FCOSHead` with CondInst's controller; initialisation too.
    """

    num_classes: int
    num_parameters: int = 169
    num_convs: int = 4
    num_groups: int = 32
    prior: float = 0.01
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> tuple[tuple[jax.Array, ...], ...]:
        """Maps (B, h, w, C) to logits, boxes, centerness and parameters, each a tuple of (B, h, w, n)."""
        self._check(maps)
        towers = {name: self._tower(name, maps[0].shape[-1]) for name in ('cls_tower', 'bbox_tower')}
        # Logits, distances and generated networks, whatever the dtype of the towers.
        wide = jnp.promote_types(maps[0].dtype if self.dtype is None else self.dtype, jnp.float32)
        prediction = functools.partial(conv, self, size=3, kernel_init=small_normal, dtype=wide)
        rare = nn.initializers.constant(-math.log((1 - self.prior) / self.prior))
        logits = prediction(self.num_classes, name='cls_logits', bias_init=rare)
        boxes, centerness = prediction(4, name='bbox_pred'), prediction(1, name='ctrness')
        controller = prediction(self.num_parameters, name='controller') if self.num_parameters else None
        results = []
        for level, x in enumerate(maps):
            classes, box = (_run(layers, x) for layers in towers.values())
            scale = LevelScale(self.param_dtype, name=f'scales_{level}')
            found = [logits(classes), nn.relu(scale(boxes(box))), centerness(box)]
            results.append([*found, controller(box)] if controller else found)
        return tuple(zip(*results, strict=True)) if controller else (*zip(*results, strict=True), ())

    def _tower(self, name, channels):
        """(convolution, norm) times `num_convs`; the third of PyTorch's numbers is the activation's."""
        norm = {'num_groups': self.num_groups, 'epsilon': 1e-5, 'use_fast_variance': False}
        dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        return [
            (
                conv(self, channels, 3, f'{name}_{3 * i}', kernel_init=small_normal),
                nn.GroupNorm(name=f'{name}_{3 * i + 1}', **norm, **dtypes),
            )
            for i in range(self.num_convs)
        ]

    def _check(self, maps):
        if not maps:
            raise ValueError('maps: expected at least one, got none')
        check_ints(num_classes=self.num_classes, num_groups=self.num_groups)
        check_ints(0, num_parameters=self.num_parameters, num_convs=self.num_convs)
        if not 0 < self.prior < 1:
            raise ValueError(f'prior: expected a probability between 0 and 1, got {self.prior!r}')
        if self.num_convs and maps[0].shape[-1] % self.num_groups:
            raise ValueError(
                f'maps: expected a multiple of num_groups = {self.num_groups} channels, got {maps[0].shape}'
            )


def _run(layers, x):
    for convolution, norm in layers:
        y = convolution(x)
        x = nn.relu(norm(y).astype(y.dtype))
    return x
