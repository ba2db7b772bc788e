"""CondInst (Tian et al., ECCV 2020): instance segmentation by a small network that is made for every instance."""

import itertools
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.models._seams import ModuleDef
from flax_dynconv.models.condinst.fcos_head import FCOSHead
from flax_dynconv.models.condinst.fpn import FPN
from flax_dynconv.models.condinst.locations import SIZES_OF_INTEREST, STRIDES
from flax_dynconv.models.condinst.maps import InstanceMaps
from flax_dynconv.models.condinst.mask_branch import MaskBranch
from flax_dynconv.models.network import batch_norm
from flax_dynconv.ops._checks import are_ints, check_ints


class CondInst(nn.Module, kw_only=True):
    """Images (B, H, W, 3) to `InstanceMaps`: at every location of every level a class, a box and a mask network.

    p = FPN(maps of the backbone);  logits, boxes, centerness, parameters = FCOSHead(p);
    mask_features = MaskBranch(p[:3])

    Of these `detect` and `instance_masks` make masks, and `instance_losses` of the training part a loss.

    Attributes:
      backbone: a network that returns its maps and knows `feature_strides`, such as any of `create_model` with
        `features_only=True`. Taken are its last maps of the strides 8, 16, ..; the pyramid makes the others.
      num_classes: logits at each location.
      strides: those of the levels, each twice the one before; masks are made at the first.
      sizes_of_interest: of each level the largest extent of a box that is its own, in pixels, and what relative
        coordinates are divided by.
      channels: those of the pyramid and of the towers of the head.
      tower_convs: of each of the two towers of the head.
      mask_channels: Cm, those of the mask features.
      branch_channels, branch_convs: those inside the mask branch, and its convolutions.
      head_channels, head_depth: of the mask networks.
      relative_coordinates: whether mask networks see where they are relative to each position.
      semantic: whether there is the auxiliary head for the class of every position.
      frozen_norm: whether the backbone runs in evaluation mode in training too: its norms use running averages and
        leave them as they are, as in the published training, and nothing in it is dropped.
      norm: of the mask branch; the backbone has its own, the head group norms.
      dtype, param_dtype, precision: of all but the backbone, as in `nn.Conv`; the result is in
        promote_types(dtype, float32).

    Training (`train=True`) uses batch statistics (make 'batch_stats' mutable), and the rng 'dropout' if the backbone
    has a rate.

    Raises ValueError for fields that do not fit each other or the backbone, and for an input that is not
    (B, H, W, C).

    >>> import jax
    >>> from flax_dynconv.models.registry import create_model
    >>> backbone = create_model('odconv_resnet18_2x', 0, features_only=True, width=1 / 8)
    >>> model = CondInst(backbone=backbone, num_classes=3, channels=32, tower_convs=1, branch_channels=16)
    >>> model.layer_channels, model.num_parameters
    ((10, 8, 8, 1), 169)
    >>> images = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
    >>> maps, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    >>> maps.mask_features.shape, [y.shape[1:3] for y in maps.parameters]
    ((1, 8, 12, 8), [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)])
    >>> sorted(variables['params'])
    ['backbone', 'fcos_head', 'fpn', 'mask_branch']

    Source: Tian, Shen, Chen, "Conditional Convolutions for Instance Segmentation" (ECCV 2020); on the backbones of
    `INSTANCE_NETWORKS` equal to AdelaiDet's `CondInst`. BoxInst (CVPR 2021) is `mask_channels=16`.
    """

    backbone: nn.Module
    num_classes: int = 80
    strides: tuple[int, ...] = STRIDES
    sizes_of_interest: tuple[int, ...] = SIZES_OF_INTEREST
    channels: int = 256
    tower_convs: int = 4
    mask_channels: int = 8
    branch_channels: int = 128
    branch_convs: int = 4
    head_channels: int = 8
    head_depth: int = 3
    relative_coordinates: bool = True
    semantic: bool = False
    frozen_norm: bool = False
    norm: ModuleDef = batch_norm
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, images, train=False):
        """Images (B, H, W, C) to `InstanceMaps`."""
        self._check(images)
        settings = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'precision': self.precision}
        maps = self._maps(self.backbone(images, train=train and not self.frozen_norm))
        first = self.strides[0].bit_length() - 1
        levels = FPN(len(self.strides), first, self.channels, name='fpn', **settings)(maps)
        head = FCOSHead(self.num_classes, self.num_parameters, self.tower_convs, name='fcos_head', **settings)
        features, semantic = MaskBranch(
            self.mask_channels,
            self.branch_channels,
            self.branch_convs,
            self.num_classes if self.semantic else 0,
            self.norm,
            name='mask_branch',
            **settings,
        )(levels[:3], train)
        return InstanceMaps(*head(levels), features, semantic)

    @property
    def layer_channels(self):
        """Channels of the layers of a mask network, inputs first: what `ops.split_parameters` takes."""
        inputs = self.mask_channels + 2 * self.relative_coordinates
        return (inputs, *(self.head_channels,) * (self.head_depth - 1), 1)

    @property
    def num_parameters(self):
        """Weights and biases of a mask network."""
        channels = self.layer_channels
        return sum(i * o + o for i, o in itertools.pairwise(channels))

    def _maps(self, found):
        """The last map of each of the strides, as far as the backbone has them."""
        if not isinstance(found, tuple | list):
            raise ValueError(f'backbone must return its maps (features_only=True), got one array of {found.shape}')
        by_stride = dict(zip(self.backbone.feature_strides, found, strict=True))
        maps = []
        for stride in self.strides:
            if stride not in by_stride:
                break
            maps.append(by_stride[stride])
        if not maps:
            known = tuple(by_stride)
            raise ValueError(f'backbone must have a map of stride {self.strides[0]}, the first of strides, has {known}')
        return maps

    def _check(self, images):
        if images.ndim != 4:
            raise ValueError(f'images must have shape (batch, height, width, channels), got {images.shape}')
        names = ('mask_channels', 'head_channels', 'head_depth')
        check_ints(**{name: getattr(self, name) for name in names})
        strides, sizes = self.strides, self.sizes_of_interest
        doubling = are_ints(strides) and all(b == 2 * a for a, b in itertools.pairwise(strides))
        if not doubling or not strides or strides[0] & (strides[0] - 1):
            raise ValueError(f'strides: expected powers of 2, each twice the one before, got {strides!r}')
        if len(sizes) != len(strides) or any(size <= 0 for size in sizes):
            raise ValueError(f'sizes_of_interest: expected a positive one for each of strides {strides}, got {sizes!r}')
