"""A segmentation network: a backbone, a head on its last map and, in training, an auxiliary head on an earlier one."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import resize_bilinear
from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.dm_head import DMHead
from flax_dynconv.models.fcn_head import FCNHead
from flax_dynconv.models.network import batch_norm


class Segmenter(nn.Module, kw_only=True):
    """Images (B, H, W, C) to logits (B, H, W, num_classes): resize(head(maps[-1])), maps = backbone(images).

    In training the result is a pair, the logits and those of the auxiliary head on `maps[auxiliary_map]`, unless
    `auxiliary=False`.

    Attributes:
      backbone: a network that returns its maps, such as any of `create_model` with `features_only=True`.
      head, auxiliary_head: make the heads, called with `num_classes`, `name`, and those of `dropout`, `norm`, `act`,
        `dtype`, `param_dtype` and `precision` that they have as fields and that no partial has set.
      num_classes: logits at each pixel.
      auxiliary: whether there is an auxiliary head.
      head_map, auxiliary_map: which maps the heads take; negative ones count from the end.
      resize: whether logits are resized to the size of the images (bilinear, float32 or wider); else they have the
        size of the map.
      align_corners: how, see `resize_bilinear`.
      dropout, norm, act: of the heads, see `DenseHead`; the backbone has its own.
      dtype, param_dtype, precision: of the heads, as in `nn.Conv`; the backbone has its own.

    Training (`train=True`) uses batch statistics (make 'batch_stats' mutable) and, with a rate, needs the rng
    'dropout'.

    Raises ValueError for a backbone that does not return maps or too few, and what backbone and heads refuse.

    >>> import jax
    >>> from flax_dynconv.models.registry import create_model
    >>> backbone = create_model('odconv_resnet8_2x', features_only=True)
    >>> model = Segmenter(backbone=backbone, head=functools.partial(DMHead, channels=8), num_classes=5)
    >>> x = jnp.zeros((1, 16, 24, 3))
    >>> y, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    >>> y.shape, sorted(variables['params'])
    ((1, 16, 24, 5), ['auxiliary_head', 'backbone', 'decode_head'])

    Source: the `EncoderDecoder` of mmsegmentation; its submodules' names.
    """

    backbone: nn.Module
    head: ModuleDef = DMHead
    auxiliary_head: ModuleDef = functools.partial(FCNHead, channels=256)
    num_classes: int = 19
    auxiliary: bool = True
    head_map: int = -1
    auxiliary_map: int = -2
    resize: bool = True
    align_corners: bool = False
    dropout: float = 0.1
    norm: ModuleDef = batch_norm
    act: ModuleDef = nn.relu
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @property
    def in_channels(self) -> int | None:
        """Channels that the images must have, as the backbone says; None: any."""
        return getattr(self.backbone, 'in_channels', None)

    @nn.compact
    def __call__(self, x, train=False, with_auxiliary=None):
        """Images to logits, or to a pair of them; `with_auxiliary`: which of the two, None: the pair in training."""
        maps = self.backbone(x, train=train)
        with_auxiliary = self.auxiliary and (train if with_auxiliary is None else with_auxiliary)
        logits = self._logits(self.head, 'decode_head', maps, self.head_map, x, train)
        # Its parameters are there whatever the mode of the first call.
        if self.auxiliary and (with_auxiliary or self.is_initializing()):
            more = self._logits(self.auxiliary_head, 'auxiliary_head', maps, self.auxiliary_map, x, train)
        return (logits, more) if with_auxiliary else logits

    def _logits(self, head, name, maps, index, x, train):
        if not isinstance(maps, tuple | list) or not -len(maps) <= index < len(maps):
            got = f'{len(maps)} maps' if isinstance(maps, tuple | list) else f'one array of shape {maps.shape}'
            raise ValueError(f'backbone must return its maps (features_only=True), also the one at {index}, got {got}')
        fields = ('dropout', 'norm', 'act', 'dtype', 'param_dtype', 'precision')
        head = offer(head, **{field: getattr(self, field) for field in fields})
        logits = head(num_classes=self.num_classes, name=name)(maps[index], train)
        return resize_bilinear(logits, x.shape[1:3], self.align_corners) if self.resize else logits
