"""HDFNet (Pang et al., ECCV 2020): salient objects in an image with depth, by filters made for every position."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from flax_dynconv.layers import DDPM, ConvNormAct, DenseTransLayer, resize_bilinear
from flax_dynconv.layers._torch_init import torch_bias, torch_kernel
from flax_dynconv.models._seams import ModuleDef, offer
from flax_dynconv.models.network import batch_norm
from flax_dynconv.ops import Autotune
from flax_dynconv.ops._checks import is_int


class HDFNet(nn.Module, kw_only=True):
    """image (B, H, W, 3) and depth (B, H, W, 1) to logits (B, H, W, 1) of being part of a salient object.

    Two encoders give maps m_0 .. m_n of the image and d_0 .. d_n of the depth, finest first. From the coarsest on,

    o_i = upconv_i(trans_i(m_i) + up(z_{i+1})),  z_i = DDPM_i(o_i, DenseTransLayer_i(m_i, d_i)),

    where `trans` is a 1x1 convolution with a bias, `upconv` a 3x3 one with norm and activation, `up` bilinear resizing
    and z_i = o_i at the finer levels, where no filters are made. Depth enters through the filters only. Where m_0 is
    smaller than the image, o_0 is resized to it with its corners aligned and `upconv_image` follows. The last two
    results have half the channels; a 1x1 convolution makes the logits.

    Attributes:
      encoder, depth_encoder: networks that return their maps, such as any of `create_model` with `features_only=True`.
      channels: those of o_i and of the guidance; even, at least 4.
      dynamic_levels: how many levels make filters, counted from the coarsest; never the last two results.
      dilations: of the filters, see `DDPM`.
      probabilities: return the sigmoid of the logits.
      norm, act: of the decoder; the encoders have their own. `norm` is called with `name`, and with `dtype`,
        `param_dtype` and `use_running_average` if it has them.
      remat: compute guidance and dynamic filtering again in the backward pass instead of keeping what is inside.
      implementation: form of `ops.per_position_conv`, None to choose, an `ops.Autotune` to measure.
      dtype, param_dtype, precision: of the decoder, as in `nn.Conv`; the result is in promote_types(dtype, float32).

    Training (`train=True`) uses batch statistics (make 'batch_stats' mutable). The filters are sown into
    'intermediates': see `dynamic_kernels`.

    Raises ValueError for maps or inputs that do not fit each other, fields out of their range, and what the encoders
    refuse.

    >>> from flax_dynconv.models.registry import create_model
    >>> rgb, depth = (create_model('odconv_resnet8_2x', features_only=True, in_channels=n) for n in (3, 1))
    >>> model = HDFNet(encoder=rgb, depth_encoder=depth, channels=16)
    >>> inputs = jnp.zeros((1, 16, 24, 3)), jnp.zeros((1, 16, 24, 1))
    >>> y, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), *inputs)
    >>> y.shape, [name for name in sorted(variables['params']) if name.startswith('selfdc')]
    ((1, 16, 24, 1), ['selfdc_2', 'selfdc_3'])

    Source: Pang et al., "Hierarchical Dynamic Filtering Network for RGB-D Salient Object Detection" (ECCV 2020); with
    the encoders of `SALIENCY_NETWORKS` equal to lartpang/HDFNet's networks, initialisation of the decoder too.
    """

    encoder: nn.Module
    depth_encoder: nn.Module
    channels: int = 64
    dynamic_levels: int = 3
    dilations: Sequence[int] = (1, 3, 5)
    probabilities: bool = False
    norm: ModuleDef = batch_norm
    act: Callable[..., Any] = nn.relu
    remat: bool = False
    implementation: str | Autotune | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, image, depth, train=False):
        """image (B, H, W, 3) and depth (B, H, W, 1) to logits or probabilities (B, H, W, 1)."""
        self._check(image, depth)
        maps, depth_maps = self.encoder(image, train=train), self.depth_encoder(depth, train=train)
        self._check_maps(maps, depth_maps)
        size, settings = image.shape[1:3], self._settings(train)
        guide, pyramid = (nn.remat(m) if self.remat else m for m in (DenseTransLayer, DDPM))
        whole = maps[0].shape[1:3] == size  # the finest map has the size of the image
        levels = [*range(len(maps) - 1, -1, -1), *(() if whole else ('image',))]
        dynamic, x = levels[: min(self.dynamic_levels, len(levels) - 2)], None
        for level in levels:
            half = self.channels // 2
            if level == 'image':
                x = resize_bilinear(x, size, align_corners=True)
            else:
                features = half if whole and level == 0 else self.channels
                x = _add(self._pointwise(maps[level], features, f'trans_{level}'), x)
            features = half if level in levels[-2:] else self.channels
            x = ConvNormAct(features, (3, 3), kernel_init=torch_kernel, name=f'upconv_{level}', **settings)(x)
            if level in dynamic:
                guidance = guide(self.channels, name=f'depth_trans_{level}', **settings)
                filtered = pyramid(
                    self.channels,
                    self.dilations,
                    implementation=self.implementation,
                    name=f'selfdc_{level}',
                    **settings,
                )
                x = filtered(x, guidance(maps[level], depth_maps[level]))
        wide = jnp.promote_types(x.dtype, jnp.float32)
        logits = self._pointwise(x, 1, 'classifier', dtype=wide)
        return jax.nn.sigmoid(logits) if self.probabilities else logits

    def _settings(self, train):
        """Fields of the layers: norm in this mode, activation, dtypes."""
        dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        norm = offer(self.norm, use_running_average=not train, **dtypes)
        return {'norm': norm, 'act': self.act, 'precision': self.precision, **dtypes}

    def _pointwise(self, x, features, name, **dtype):
        fields = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'precision': self.precision, **dtype}
        initial = {'kernel_init': torch_kernel, 'bias_init': torch_bias(x.shape[-1])}
        return nn.Conv(features, (1, 1), name=name, **initial, **fields)(x)

    def _check(self, image, depth):
        for name, x in (('image', image), ('depth', depth)):
            if x.ndim != 4:
                raise ValueError(f'{name} must have shape (batch, height, width, channels), got {x.shape}')
        if image.shape[:3] != depth.shape[:3]:
            raise ValueError(f'depth must have the batch, height and width of image {image.shape}, got {depth.shape}')
        wanted = getattr(self.depth_encoder, 'in_channels', None)
        if wanted is not None and depth.shape[-1] != wanted:
            raise ValueError(f'depth must have {wanted} channels, as depth_encoder says, got shape {depth.shape}')
        if not is_int(self.channels) or self.channels < 4 or self.channels % 2:
            raise ValueError(f'channels must be an even integer >= 4, got {self.channels!r}')
        if not is_int(self.dynamic_levels) or self.dynamic_levels < 0:
            raise ValueError(f'dynamic_levels must be an integer >= 0, got {self.dynamic_levels!r}')

    def _check_maps(self, maps, depth_maps):
        for name, found in (('encoder', maps), ('depth_encoder', depth_maps)):
            if not isinstance(found, tuple | list) or len(found) < 2:
                kind = f'{len(found)} map' if isinstance(found, tuple | list) else f'one array of shape {found.shape}'
                raise ValueError(f'{name} must return at least two maps (features_only=True), got {kind}')
        shapes = [[y.shape[1:] for y in found] for found in (maps, depth_maps)]
        if shapes[0] != shapes[1]:
            raise ValueError(f'depth_encoder must return maps of the shapes of encoder, {shapes[0]}, got {shapes[1]}')


def _add(x, coarse):
    """x, and the coarser map at its size; x's dtype."""
    if coarse is None:
        return x
    if coarse.shape[1:3] != x.shape[1:3]:
        coarse = resize_bilinear(coarse, x.shape[1:3])
    return x + coarse.astype(x.dtype)
